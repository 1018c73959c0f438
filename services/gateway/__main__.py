from chassis.main import main
from gateway.app import build
from gateway.settings import Settings

main(build, Settings)
