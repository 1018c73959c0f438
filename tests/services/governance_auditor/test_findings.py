import json
from dataclasses import replace

import pytest
from tests.services.governance_auditor.samples import OBJECT, declared

from cairn.events import DatasetPublished, FindingRaised, ModelDeclared
from cairn.events.codec import Outgoing, Record, write_bytes
from cairn.events.envelope import Envelope, format_sequence
from cairn.events.signing import Signer
from governance_auditor.api import list_findings


def findings(auditor) -> list[FindingRaised]:
    """What is found in all that lies on the log now."""
    before = auditor._count_told()
    while True:
        auditor.append_new()
        told = auditor._count_told()
        auditor.wait()
        if auditor._count_told() == told:
            return [facts for facts in auditor._told_since(before) if isinstance(facts, FindingRaised)]


def codes(auditor) -> list[tuple[str, str]]:
    return [(finding.code, finding.severity) for finding in findings(auditor)]


def put(world, topic: str, record: Record) -> Record:
    records = world.log.setdefault((topic, record.partition), [])
    records.append(replace(record, topic=topic, offset=len(records)))
    return records[-1]


def last(world, **fields) -> Record:
    """The last record, changed."""
    records = max(world.log.values(), key=lambda records: records[-1].timestamp)
    records[-1] = replace(records[-1], **fields)
    return records[-1]


def with_header(record: Record, name: str, value: str) -> tuple[tuple[str, bytes | None], ...]:
    return tuple((key, value.encode() if key == name else old) for key, old in record.headers)


def test_nothing_is_found_in_a_good_log(auditor):
    auditor.hear(declared("ada"))
    assert codes(auditor) == []


def test_an_admitted_unsigned_run_is_one_notice(auditor):
    for n in range(5):
        publish_unsigned(auditor.world, f"{n}")
    (finding,) = findings(auditor)
    assert (finding.code, finding.severity) == ("unsigned-admitted", "notice")
    assert (finding.record.first_offset, finding.record.last_offset) == (0, 4)
    publish_unsigned(auditor.world, "5")
    (finding,) = findings(auditor)
    assert (finding.record.first_offset, finding.record.last_offset) == (5, 5)
    assert finding.event is not None


def publish_unsigned(world, event_id: str, source: str = "/unsigned/erp") -> None:
    facts = DatasetPublished(dataset="loans", version="1", files=(OBJECT,), format="csv")
    envelope = Envelope(event_id, source, "cairn.dataset.published.v1", "dataset/loans", "2026-01-01T00:00:00Z")
    value = facts.model_dump_json(exclude_none=True).encode()
    world.append(write_bytes(value, "dataset/loans", envelope, "datasets", world.installation, None))


def test_an_unsigned_event_of_a_stranger_is_an_alarm(auditor):
    publish_unsigned(auditor.world, "1", "/stranger")
    assert codes(auditor) == [("unsigned", "alarm")]


def test_a_changed_value_is_an_alarm(auditor):
    auditor.world.publish(declared())
    changed = last(auditor.world, value=b"{}")
    (finding,) = findings(auditor)
    assert (finding.code, finding.severity, finding.event) == ("signature", "alarm", None)
    assert (finding.log, finding.record.first_offset) == (f"registry/{changed.partition}", 0)


def test_an_unknown_key_is_an_alarm(auditor):
    world = auditor.world
    world.signers["registry"] = Signer.generate("stolen")
    world.publish(declared())
    assert codes(auditor) == [("signature", "alarm")]


def test_a_key_that_speaks_for_another_is_an_alarm(auditor):
    world = auditor.world
    world.signers["registry"] = world.signers["trainer"]
    world.publish(declared())
    assert codes(auditor) == [("not-allowed", "alarm")]


def test_an_event_on_the_wrong_topic_is_an_alarm(auditor):
    world = auditor.world
    record = world.publish(declared())
    put(world, "training", record)
    assert codes(auditor) == [("wrong-topic", "alarm")]


def test_an_unknown_type_is_a_warning_and_a_newer_one_a_notice(auditor):
    world = auditor.world
    record = world.publish(declared())
    put(world, "registry", replace(record, headers=with_header(record, "ce_type", "cairn.model.eaten.v1")))
    put(world, "registry", replace(record, headers=with_header(record, "ce_type", "cairn.model.declared.v2")))
    assert codes(auditor) == [("unknown-type", "warning"), ("unsupported-version", "notice")]


def test_facts_that_do_not_fit_the_schema_are_a_warning(auditor):
    world = auditor.world
    envelope = Envelope("1", "/cairn/registry", "cairn.model.declared.v1", "model/m", "2026-01-01T00:00:00Z")
    signer = world.signers["registry"]
    world.append(write_bytes(b'{"model":"m"}', "model/m", envelope, "registry", world.installation, signer))
    assert codes(auditor) == [("schema", "warning")]


@pytest.mark.parametrize(
    ("value", "headers", "code"),
    [
        (None, (), "tombstone"),
        (b"", (), "empty"),
        (b"hello", (), "not-a-cloudevent"),
        (b"hello", (("ce_id", b"\xff"),), "header"),
        (b"[]", (("content-type", b"application/cloudevents+json"),), "not-a-cloudevent"),
        (b"{}", (("ce_id", b"1"), ("ce_source", b"s"), ("ce_type", None)), "header"),
    ],
)
def test_what_cannot_be_read_is_a_warning(auditor, value, headers, code):
    put(auditor.world, "datasets", Record("", 0, 0, 1, None, headers, value))
    assert codes(auditor) == [(code, "warning")]


def test_a_record_that_breaks_the_reader_is_a_warning_too(auditor, monkeypatch):
    def broken(*_arguments):
        raise OverflowError("never seen before")

    monkeypatch.setattr("governance_auditor.work.inspecting.hear", broken)
    auditor.world.publish(declared())
    (finding,) = findings(auditor)
    assert (finding.code, finding.severity) == ("unreadable", "warning")
    assert "never seen before" in finding.text


def test_a_record_on_another_partition_is_a_notice(auditor):
    world = auditor.world
    record = world.publish(declared())
    records = world.log.pop(("registry", record.partition))
    world.log["registry", (record.partition + 1) % 4] = [replace(records[0], partition=(record.partition + 1) % 4)]
    (finding,) = findings(auditor)
    assert (finding.code, finding.severity) == ("wrong-partition", "notice")
    assert f"belongs into {record.partition}" in finding.text


def publish(world, sequence: int, event_id: str = "", revision: int = 1) -> Record:
    attributes = {"id": event_id} if event_id else {}
    return world.publish(declared(revision=revision), sequence=format_sequence(sequence), **attributes)


def test_a_missing_number_is_a_warning_once(auditor):
    for sequence in (1, 2, 5, 6):
        publish(auditor.world, sequence)
    (finding,) = findings(auditor)
    assert (finding.code, finding.record.first_offset) == ("sequence-gap", 2)
    assert "3 to 4" in finding.text
    assert findings(auditor) == []


def test_a_number_that_falls_back_is_a_warning(auditor):
    for sequence in (1, 2, 1, 2, 3):
        publish(auditor.world, sequence)
    (finding,) = findings(auditor)
    assert (finding.code, finding.record.first_offset) == ("sequence-regress", 2)


def test_what_the_relay_sent_twice_is_no_finding(auditor):
    world = auditor.world
    sent = [publish(world, sequence) for sequence in (1, 2, 3)]
    for record in sent:
        world.append(Outgoing(world.installation.topic("registry"), record.key, record.headers, record.value))
    publish(world, 4)
    assert codes(auditor) == []


def test_numbers_count_by_subject(auditor):
    world = auditor.world
    publish(world, 1)
    other = ModelDeclared.model_validate_json(json.dumps(declared().model_dump(mode="json") | {"model": "other"}))
    world.publish(other, sequence=format_sequence(1))
    publish(world, 2)
    assert codes(auditor) == []


def test_a_restart_goes_on_counting_from_the_log(auditor, new_auditor):
    for sequence in (1, 2):
        publish(auditor.world, sequence)
    assert codes(auditor) == []
    publish(auditor.world, 3)
    publish(auditor.world, 5)
    restarted = restart(auditor, new_auditor)
    (finding,) = findings(restarted)
    assert (finding.code, finding.record.first_offset) == ("sequence-gap", 3)


def test_a_restart_finds_nothing_twice(auditor, new_auditor):
    publish_unsigned(auditor.world, "1")
    publish_unsigned(auditor.world, "2", "/stranger")
    assert len(findings(auditor)) == 2
    assert findings(restart(auditor, new_auditor)) == []


def restart(auditor, new_auditor):
    """Another process on the same store."""
    again = new_auditor()
    again.database, again.processor = auditor.database, auditor.processor
    again.processor.definition = again.definition
    again.offsets, again.appended = auditor.offsets, auditor.appended
    return again


def test_a_forged_finding_is_found_and_our_own_are_not_looked_at(auditor):
    world = auditor.world
    publish_unsigned(world, "1", "/stranger")
    (finding,) = findings(auditor)
    auditor.relay()
    assert findings(auditor) == []
    world.signers["governance-auditor"] = Signer.generate("forger")
    world.publish(finding)
    (forged,) = findings(auditor)
    assert (forged.code, forged.log.split("/")[0]) == ("signature", "governance")


def test_a_finding_has_the_same_id_in_any_life(auditor, new_auditor):
    publish_unsigned(auditor.world, "1", "/stranger")
    other = new_auditor()
    findings(auditor)
    findings(other)
    ids = [{row.event_id for row in told(actor) if row.type == "cairn.finding.raised.v1"} for actor in (auditor, other)]
    assert ids[0] == ids[1]


def told(actor):
    from sqlalchemy import select

    from chassis import ledger

    with actor.session() as session:
        return session.execute(select(ledger.TOLD)).all()


def test_findings_can_be_read_page_by_page(auditor, monkeypatch):
    for n in range(3):
        publish_unsigned(auditor.world, f"{n}", "/stranger")
    findings(auditor)
    monkeypatch.setattr("governance_auditor.api._PAGE", 2)
    first = list_findings(auditor.database)
    second = list_findings(auditor.database, first["next"])
    assert [len(page["findings"]) for page in (first, second)] == [2, 1]
    assert second["next"] is None
    with pytest.raises(ValueError):
        list_findings(auditor.database, "[1]")
