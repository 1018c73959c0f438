"""The governance-auditor's composition root."""

from functools import cache

from cairn.events.catalogue import TOPICS
from cairn.events.hearing import AUDITOR, HEARD
from cairn.events.identity import Installation
from cairn.events.signing import DELEGATE, Trust
from chassis import Appender, Definition, ServiceSettings, Wait
from governance_auditor.api import make_routes
from governance_auditor.handlers import make_handlers
from governance_auditor.projections import projections
from governance_auditor.store import AuditorTable
from governance_auditor.work.appending import make_append
from governance_auditor.work.inspecting import Inspector, tell_findings
from governance_auditor.work.signing import Signing
from governance_auditor.work.verifying import verify
from governance_auditor.work.waiting import make_waits


def build(settings: ServiceSettings) -> Definition:
    """The governance-auditor, whole."""
    installation = Installation(settings.installation)

    @cache
    def trust() -> Trust:
        return Trust.load(settings.trust_file)

    def roles_of(person: str, keyid: str) -> frozenset[str]:
        known = trust()
        key = known.key(keyid)
        if key is None or DELEGATE not in key.roles:  # a key without a role must not borrow it from another
            return frozenset(key.roles) if key else frozenset()
        return frozenset(role for one in known.keys if one.principal == f"person/{person}" for role in one.roles)

    inspector = Inspector(installation, trust)
    signing = Signing(installation, inspector)
    return Definition(
        name=AUDITOR,
        hears=HEARD[AUDITOR],
        tables=AuditorTable,
        handlers=make_handlers(roles_of),
        projections=projections,
        waits=(
            Wait("findings", inspector.due, inspector.next_at, tell_findings),
            Wait("checkpoints", signing.due, signing.next_at, signing.sign),
            *make_waits(roles_of),
        ),
        appenders=(Appender("appender", tuple(TOPICS), make_append(installation)),),
        routes=make_routes,
        commands={"verify": verify},
    )
