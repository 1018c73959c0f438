from chassis.main import main
from trainer.app import build
from trainer.settings import Settings

main(build, Settings)
