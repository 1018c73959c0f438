"""A promotion is checked offline: what contradicts itself is no receipt."""

from typing import Any

import pytest
from tests.libs.cairn.subscriber.promotions import ROOT, promotion

from cairn.events import Installation, ModelPromoted
from cairn.schemas.examples import read_examples
from cairn.subscriber.receipt import receipt_faults

CAIRN = Installation("cairn")
SOUND = promotion(CAIRN, "toy.a", 2).model_dump(mode="json")
OTHER = "sha256:" + "0" * 64


def test_every_recorded_promotion_holds() -> None:
    recorded = [one for one in read_examples(ROOT) if one.type == "cairn.model.promoted.v1"]

    assert len(recorded) > 3
    for one in recorded:
        facts = ModelPromoted.model_validate_json(one.value_bytes, extra="ignore")
        assert receipt_faults(facts, CAIRN) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"package": SOUND["package"] | {"digest": OTHER}}, "package.digest is sha256:0000"),
        ({"previous": SOUND["previous"] | {"name": "toy.b"}}, "previous is toy.b, another model"),
        ({"kind": "rollback", "previous": None}, "no previous champion"),
        ({"declaration": SOUND["declaration"] | {"name": "toy.b"}}, "declaration is that of toy.b"),
        ({"classes": [1]}, "classes are"),
        ({"classes": [1, 1]}, "classes are"),
        ({"endpoint": ""}, "endpoint is empty"),
        ({"io_change": {"removed": SOUND["io_schema"]["inputs"][:1]}}, "amount is gone, but"),
        ({"io_change": {"added": [{"name": "shade", "type": "string"}]}}, "names the input shade"),
        ({"metrics": []}, "metrics are empty"),
        ({"validation": SOUND["validation"] | {"type": "cairn.validation.failed.v1"}}, "validation names a cairn.vali"),
        ({"validation": SOUND["validation"] | {"source": "/cairn/trainer"}}, "validation was told by /cairn/trainer"),
        ({"approval": SOUND["rollout"]}, "approval names a cairn.rollout.completed.v1"),
        ({"rollout": SOUND["rollout"] | {"source": "/other/deployer"}}, "rollout was told by /other/deployer"),
        ({"approvals": [SOUND["rollout"]]}, "which is no approval"),
        ({"log_origin": "cairn-staging/registry/0"}, "log_origin is cairn-staging/registry/0"),
    ],
)
def test_a_receipt_that_does_not_hold_says_why(change: dict[str, Any], fault: str) -> None:
    faults = receipt_faults(promotion(CAIRN, "toy.a", 2, **change), CAIRN)

    assert fault in " ".join(faults)
