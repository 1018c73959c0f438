from chassis.main import main
from registry.app import build
from registry.settings import Settings

main(build, Settings)
