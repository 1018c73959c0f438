from chassis.main import main
from deployer.app import build
from deployer.settings import Settings

main(build, Settings)
