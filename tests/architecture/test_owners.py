"""One topic, one owner: a service tells only what is its own."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.architecture.naming import event_named, events_named, owner_name
from tests.architecture.tree import Module, exchanged, read, seeded

from cairn.events import Declaration, DeclarationSubmitted, PolicyAdopted
from cairn.events.catalogue import CATALOGUE, TOPICS, EventType, topic_for
from cairn.events.hearing import HEARD
from cairn.events.policy import Policy
from chassis import Definition, Handlers, Projections, Transaction
from chassis.testing import World
from chassis.transaction import NotOwner
from registry.store import RegistryTable


def find_foreign_tellings(modules: list[Module]) -> list[str]:
    """Where a service makes an event that another service owns, or calls within `tell(…)` what gives one."""
    faults = []
    returned = {
        (module.owner, node.name): list(events_named(module, node.returns))
        for module in modules
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef) and node.returns
    }
    for module in modules:
        if module.path.startswith("services/"):
            made = [*_constructed(module), *_given(module, returned)]
            me = owner_name(module)
            faults += [
                module.fault(where, f"{me} tells {entry.facts.__name__}, which is {_owner(entry, me)}'s alone")
                for where, entry in made
                if _owner(entry, me) != me
            ]
    return sorted(set(faults))


def _owner(entry: EventType, service: str) -> str:
    return topic_for(entry, service).owner if entry.topic in TOPICS or service != "serving" else "a service"


def _constructed(module: Module) -> Iterator[tuple[ast.AST, EventType]]:
    called = {node.func.id for node in module.nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    for node in module.nodes:
        if isinstance(node, ast.Call) and (entry := event_named(module, node.func)):
            yield node.func, entry
        # `verdict = Passed if good else Failed; verdict(…)`
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.IfExp | ast.Name):
            yield from events_named(module, node.value) if {ast.unparse(one) for one in node.targets} & called else ()


def _given(
    module: Module, returned: dict[tuple[str, str], list[tuple[ast.AST, EventType]]]
) -> Iterator[tuple[ast.AST, EventType]]:
    for node in module.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "tell":
            yield from (found for argument in node.args for found in events_named(module, argument))
            for one in ast.walk(node.args[0]) if node.args else ():
                if isinstance(one, ast.Call) and isinstance(one.func, ast.Name):
                    yield from ((one, entry) for _, entry in returned.get((module.owner, one.func.id), ()))


def test_each_service_tells_only_what_it_owns() -> None:
    assert find_foreign_tellings(read()) == []


def test_the_rule_sees_most_of_what_is_told() -> None:
    """Every event of a service is made somewhere in it, so a rule that saw nothing would not pass here."""
    modules = [one for one in read() if one.room in ("domain", "handlers", "work", "serving")]
    seen = {entry.facts.__name__ for module in modules for _, entry in _constructed(module)}
    told = {
        entry.facts.__name__
        for entry in CATALOGUE.values()
        if entry.topic in TOPICS and TOPICS[entry.topic].owner not in ("upstream", "people")
    }
    assert len(seen & told) / len(told) > 0.8


@pytest.mark.parametrize(
    ("path", "line", "said"),
    [
        (
            "services/trainer/handlers.py",
            "def f(tx): tx.tell(ModelDeclared())",
            "trainer tells ModelDeclared, which is registry's alone",
        ),
        (
            "services/validator/work.py",
            "def f(tx): tx.tell(ModelPromoted())",
            "validator tells ModelPromoted, which is registry's alone",
        ),
        (
            "services/governance_auditor/work/waiting.py",
            "from cairn.events import ModelPromoted as It; f = lambda tx: tx.tell(It())",
            "governance-auditor tells ModelPromoted, which is registry's alone",
        ),
        (
            "services/trainer/handlers.py",
            "import cairn.events; f = lambda tx: tx.tell(cairn.events.ModelPromoted())",
            "trainer tells ModelPromoted, which is registry's alone",
        ),
        (
            "services/monitor/handlers.py",
            "from cairn.events import registry as told; f = lambda tx: tx.tell(told.ModelPromoted())",
            "monitor tells ModelPromoted, which is registry's alone",
        ),
        (
            "services/validator/work.py",
            "from cairn.events import ModelPromoted; f = lambda tx, made: tx.tell(ModelPromoted.model_validate(made))",
            "validator tells ModelPromoted, which is registry's alone",
        ),
        (
            "services/trainer/api.py",
            "from cairn.events import ModelPromoted; f = lambda tx: tx.tell(ModelPromoted())",
            "trainer tells ModelPromoted, which is registry's alone",
        ),
        (
            "services/monitor/handlers.py",
            "from cairn.events import RedriveRequested; f = lambda tx: tx.tell(RedriveRequested())",
            "monitor tells RedriveRequested, which is people's alone",
        ),
        (
            "services/deployer/serving/routing.py",
            "from cairn.events import RecordParked; RecordParked()",
            "serving tells RecordParked, which is a service's alone",
        ),
        (
            "services/deployer/serving/routing.py",
            "from cairn.events import RolloutStarted; RolloutStarted()",
            "serving tells RolloutStarted, which is deployer's alone",
        ),
    ],
)
def test_an_event_that_another_owns_is_found(path: str, line: str, said: str) -> None:
    module, number = seeded(path, line)
    (fault,) = find_foreign_tellings([module])
    assert fault == f"{path}:{number}: {said}"


def test_an_event_that_another_owns_is_found_where_the_domain_makes_it() -> None:
    domain, made = seeded("services/trainer/domain.py", "def foreign() -> DatasetAccepted: return DatasetAccepted()")
    handlers, told = seeded(
        "services/trainer/handlers.py", "from trainer.domain import foreign", "def f(tx): tx.tell(foreign())"
    )
    said = "trainer tells DatasetAccepted, which is validator's alone"
    faults = find_foreign_tellings(exchanged(read(), domain, handlers))
    assert faults == [f"{domain.path}:{made}: {said}", f"{handlers.path}:{told}: {said}"]


def test_what_a_service_tells_of_its_own_running_is_its_own() -> None:
    line = "from cairn.events import RequestRefused; f = lambda tx: tx.tell(RequestRefused())"
    module, _ = seeded("services/trainer/handlers.py", line)
    assert find_foreign_tellings([module]) == []


def test_at_run_time_the_transaction_refuses_it_too(tmp_path: Path) -> None:
    adopted = PolicyAdopted(policy="default", revision=1, document=Policy(name="default"), digest="sha256:" + "0" * 64)
    handlers = Handlers()

    @handlers.on(DeclarationSubmitted)
    def handle(_event: DeclarationSubmitted, tx: Transaction) -> None:
        tx.tell(adopted)

    declaration = Declaration(model="risk.loans", owner="credit", dataset="loans", target="defaulted")
    actor = World(tmp_path).add(Definition("registry", HEARD["registry"], RegistryTable, handlers, Projections()))
    with pytest.raises(NotOwner, match=r"registry may not tell cairn.policy.adopted.v1: governance belongs to gov"):
        actor.hear(DeclarationSubmitted(model="risk.loans", declaration=declaration))
    assert actor.world.told(PolicyAdopted) == []
    actor.database.close()
