from chassis.main import main
from governance_auditor.app import build
from governance_auditor.settings import Settings

main(build, Settings, offline=("verify",))
