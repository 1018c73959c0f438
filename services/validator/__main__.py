from chassis.main import main
from validator.app import build
from validator.settings import Settings

main(build, Settings)
