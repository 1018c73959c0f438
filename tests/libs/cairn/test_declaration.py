import json
import os
import time
from pathlib import Path

import pytest

from cairn.declaration import DeclarationError, declaration_digest, read_declaration
from cairn.events.declaration import Declaration

SMALLEST = "model: risk.loans\nowner: credit-team\ndataset: risk.loans-2026\ntarget: defaulted\n"

WHOLE = """\
# Everything that can be said.
model: risk.loans
task: binary
owner: no            # a text, whatever YAML 1.1 thought of it
purpose: |
  Whether a loan will be paid back.
dataset: risk.loans-2026
target: defaulted
features: [income, "2026", 2026-01-01]
seed: 7
split: {held_out_ratio: 0.25, salt: a}
search:
  estimators: [logistic_regression]
  metric: log_loss
  folds: 3
  max_trials: 2
  max_seconds: 1e1
gates:
  minimums: {roc_auc: 0.8, log_loss: 1}
  beats_champion: {metric: roc_auc, confidence: .9}
approval: {approvers: [ada]}
rollout: {steps: [0.1, 0.5], min_requests: 100}
monitoring: {window_rows: 500, drift: {bins: 20, psi: 0.2, significance: 1e-3}, label_horizon_seconds: 60}
retraining: {rows: 200, cooldown_seconds: 5}
"""

# What is appended to (or, where it starts with a key of SMALLEST, put in its place) -> what the message must say.
BAD: dict[str, tuple[str, str]] = {
    "unknown key near a known one": ("serach: {}", "x.yaml:5:1: serach: is not a known key; did you mean 'search'?"),
    "unknown key inside": (
        "monitoring:\n  drift:\n    bin: 4",
        "x.yaml:7:5: monitoring.drift.bin: is not a known key; did you mean 'bins'?",
    ),
    "known key in the wrong place": (
        "folds: 3",
        "x.yaml:5:1: folds: is not a known key; did you mean 'folds' inside 'search'?",
    ),
    "dotted key": (
        "rollout.steps: [0.5]",
        "x.yaml:5:1: rollout.steps: is not a known key; did you mean 'steps' inside 'rollout'?",
    ),
    "unknown key near none": (
        "gates: {beats_champion: {zzz: 1}}",
        "x.yaml:5:26: gates.beats_champion.zzz: is not a known key; known here: metric, confidence",
    ),
    "merge key": ("<<: {seed: 1}", "x.yaml:5:1: <<: is not a known key"),
    "threshold as a text": (
        "gates: {minimums: {roc_auc: '0.8'}}",
        "x.yaml:5:29: gates.minimums.roc_auc: found the text '0.8', expected a number",
    ),
    "share above one": (
        "gates: {minimums: {roc_auc: 1.5}}",
        "x.yaml:5:29: gates.minimums.roc_auc: found 1.5, which no version can reach: expected 1 or less",
    ),
    "loss below zero": (
        "gates: {minimums: {log_loss: -1}}",
        "x.yaml:5:30: gates.minimums.log_loss: found -1, which no version can reach: expected 0 or more",
    ),
    "unknown metric": (
        "gates: {minimums: {accurracy: 0.8}}",
        "x.yaml:5:20: gates.minimums.accurracy: found the text 'accurracy', expected 'roc_auc'",
    ),
    "number as a text": ("owner: 7", "x.yaml:4:8: owner: found the number 7, expected a text (in quotes, it is one)"),
    "truth as a text": ("owner: true", "owner: found true, expected a text (in quotes, it is one)"),
    "fraction as a count": ("seed: 1.5", "x.yaml:5:7: seed: found the number 1.5, expected a whole number"),
    "truth as a count": ("seed: true", "seed: found true, expected a whole number"),
    "negative count": ("seed: -1", "seed: found the number -1, expected at least 0"),
    "endless digits": ("seed: " + "9" * 5000, "seed: found a text of 5000 characters that begins '9999"),
    "not a number": ("split: {held_out_ratio: .nan}", "expected a finite number"),
    "infinite": ("retraining: {cooldown_seconds: .inf}", "expected a finite number"),
    "too large to be finite": ("retraining: {cooldown_seconds: 1e999}", "expected a finite number"),
    "section left empty": ("gates:", "x.yaml:5:7: gates: found nothing, expected a mapping of keys to values"),
    "list for a mapping": ("search: [1, 2]", "search: found a list of 2, expected a mapping of keys to values"),
    "text for a list": ("features: income", "features: found the text 'income', expected a list"),
    "wrong entry of a list": (
        "search:\n  estimators:\n    - logistic_regression\n    - random_forest",
        "x.yaml:8:7: search.estimators[1]: found the text 'random_forest', expected 'logistic_regression'",
    ),
    "no estimators": ("search: {estimators: []}", "search.estimators: found a list of 0, expected at least 1 of them"),
    "missing key": ("target:", "x.yaml:4:8: target: found nothing, expected a text"),
    "target among the features": ("features: [a, defaulted]", "x.yaml:5:11: features: must not contain the target"),
    "feature named twice": ("features: [a, a]", "x.yaml:5:11: features: names a column twice"),
    "steps that fall": ("rollout: {steps: [0.5, 0.2]}", "x.yaml:5:18: rollout.steps: must rise"),
    "a dataset of the monitor's": ("dataset: served.risk.loans", "dataset: must not begin with 'served.'"),
    "path as a name": (
        "model: ../../etc/passwd",
        "model: found the text '../../etc/passwd', expected one or two parts",
    ),
    "upper case": ("model: Risk.Loans", "model: found the text 'Risk.Loans', expected one or two parts"),
    "look-alike letters": ("model: ri\u0455k", "expected one or two parts of a-z"),
    "trailing space": ("model: 'risk.loans '", "model: found the text 'risk.loans ', expected"),
    "trailing newline": ('model: "risk.loans\\n"', "model: found the text 'risk.loans\\n', expected"),
    "name of 300 characters": ("model: " + "a" * 300, "model: found a text of 300 characters that begins 'aaa"),
    "duplicate key": ("seed: 1\nseed: 2", "x.yaml:6:1: seed: found a second time: it stands in line 5 already"),
    "duplicate key inside": (
        "search:\n  folds: 3\n  folds: 4",
        "x.yaml:7:3: search.folds: found a second time: it stands in line 6 already",
    ),
    "list as a key": ("? [a, b]\n: 1", "x.yaml:5:3: found a key that is no plain name"),
    "python object": (
        "purpose: !!python/object/apply:os.system ['touch /tmp/cairn-was-here']",
        "x.yaml:5:10: purpose: found the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
    ),
    "own tag": ("seed: !env SEED", "x.yaml:5:7: seed: found the tag '!env': expected a plain value"),
    "anchor": ("seed: &s 1", "x.yaml:5:7: seed: found the anchor &s: write values out"),
    "alias": ("seed: &s 1\nsplit: *s", "x.yaml:6:8: split: found the alias *s: expected a plain value"),
    "alias of nothing": ("seed: *s", "x.yaml:5:7: seed: found the alias *s: expected a plain value"),
    "tab": ("split:\n\tsalt: a", "x.yaml:6:1: found a tab: expected spaces"),
    "bracket left open": ("features: [a, b\nseed: 1", "x.yaml:6:5: cannot be read as YAML"),
    "colon in a text": ("purpose: one: two", "x.yaml:5:13: cannot be read as YAML: mapping values are not allowed"),
    "second document": ("---\nmodel: other", "x.yaml:5:1: found a second document"),
    "null character": ("purpose: a\0b", "x.yaml:5:11: found the character U+0000"),
    "escaped null character": ('purpose: "a\\0b"', "x.yaml:5:10: purpose: found the unprintable character U+0000"),
    "half a character": ('purpose: "\\ud800"', "x.yaml:5:10: purpose: found the unprintable character U+D800"),
    "text that turns round": ("purpose: a\u202eb", "x.yaml:5:10: purpose: found the unprintable character U+202E"),
    "unprintable key": ('"se\\aed": 1', "x.yaml:5:1: found the unprintable key 'se\\x07ed'"),
    "deep nesting": ("purpose: " + "[" * 30_000, "found more than 16 levels of nesting"),
    "too large": ("# " + "x" * 65_536, "x.yaml: is too large: expected at most 65536 bytes"),
}


def with_lines(lines: str) -> str:
    key = lines.partition(":")[0]
    kept = [line for line in SMALLEST.splitlines() if line.partition(":")[0] != key]
    return "\n".join([*kept, lines, ""])


def refusal(text: str) -> str:
    with pytest.raises(DeclarationError) as refused:
        read_declaration(text, "x.yaml")
    return str(refused.value)


def test_four_lines_are_enough() -> None:
    read = read_declaration(SMALLEST, "x.yaml")
    assert read == Declaration(model="risk.loans", owner="credit-team", dataset="risk.loans-2026", target="defaulted")


def test_all_that_can_be_said_is_read() -> None:
    read = read_declaration(WHOLE, "x.yaml")
    assert read.owner == "no"
    assert read.purpose == "Whether a loan will be paid back.\n"
    assert read.features == ("income", "2026", "2026-01-01")
    assert read.search.max_seconds == 10
    assert read.gates.minimums == {"roc_auc": 0.8, "log_loss": 1.0}
    assert read.gates.beats_champion is not None
    assert read.monitoring.drift.significance == 0.001


def test_a_file_is_read_as_its_text_is(tmp_path: Path) -> None:
    file = tmp_path / "loans.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + WHOLE.replace("\n", "\r\n").encode())
    assert read_declaration(file, "loans.yaml") == read_declaration(WHOLE, "x.yaml")


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_with_place_finding_and_cure(case: str) -> None:
    lines, expected = BAD[case]
    assert expected in refusal(with_lines(lines))


def test_what_is_missing_is_described() -> None:
    message = refusal("model: risk.loans\n")
    assert "x.yaml:1:1: target: is missing: expected the column to predict" in message
    assert "dataset: is missing" in message
    assert "owner: is missing" in message


def test_all_problems_are_told_at_once_in_the_order_of_the_lines() -> None:
    message = refusal("owner: 7\nmodle: a\nseed: 1\nseed: &a 2\nsearch:\n  folds: x\n  metric: f2\ntarget: y\n")
    places = [tuple(int(part) for part in line.split(":")[1:3]) for line in message.splitlines()]
    assert places == sorted(places)
    keys = ["dataset", "model", "owner", "modle", "seed", "seed", "search.folds", "search.metric"]
    assert [line.split(": ")[1] for line in message.splitlines()] == keys


def test_contradictions_are_told_beside_wrong_types() -> None:
    message = refusal(with_lines("features: [a, defaulted]\nrollout: {steps: [0.5, 0.2]}\nseed: x"))
    assert [line.split(": ")[1] for line in message.splitlines()] == ["features", "rollout.steps", "seed"]


def test_a_message_stays_readable_however_much_is_wrong() -> None:
    lines = refusal("\n".join(f"k{n}: {n}" for n in range(5000))).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "x.yaml: and 4984 more problems"


@pytest.mark.parametrize("text", ["", "# nothing\n", "\n\n"])
def test_an_empty_file_is_called_empty(text: str) -> None:
    assert refusal(text) == "x.yaml: is empty: expected a mapping of keys to values"


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "---\n"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    assert "expected a mapping with the keys model, task, owner" in refusal(text)


def test_a_bomb_of_anchors_is_refused_before_it_grows() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    started = time.monotonic()
    assert "found the anchor &a0" in refusal(SMALLEST + "\n".join(levels))
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("text", ["- " * 30_000, "? " * 30_000, "{" * 60_000, "a: " + "&a " * 20_000, "'" * 60_001])
def test_a_hostile_text_is_refused_at_once(text: str) -> None:
    started = time.monotonic()
    refusal(text)
    assert time.monotonic() - started < 2


def test_nothing_in_a_file_is_executed() -> None:
    witness = Path("/tmp/cairn-was-here")  # named in the table above
    refusal(with_lines(BAD["python object"][0]))
    assert not witness.exists()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"^loans\.yaml: cannot be read: No such file or directory$"):
        read_declaration(tmp_path / "none.yaml", "loans.yaml")
    with pytest.raises(DeclarationError, match=r"^loans\.yaml: cannot be read: Is a directory$"):
        read_declaration(tmp_path, "loans.yaml")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "loans.yaml"
    file.write_bytes(SMALLEST.encode("utf-16"))
    with pytest.raises(DeclarationError, match=r"^loans\.yaml: is not text in UTF-8"):
        read_declaration(file, "loans.yaml")


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(DeclarationError, match="is too large"):
        read_declaration(Path(os.devnull).with_name("zero"), "zero")


def test_the_digest_is_of_the_facts_and_not_of_their_order_or_form() -> None:
    shuffled = "target: 'defaulted'\nseed: 0\n" + SMALLEST.replace("target: defaulted\n", "")
    digest = declaration_digest(read_declaration(SMALLEST, "x.yaml"))
    assert declaration_digest(read_declaration(shuffled, "y.yaml")) == digest
    assert declaration_digest(read_declaration(with_lines("seed: 1"), "x.yaml")) != digest


def test_the_digest_survives_the_way_through_an_event() -> None:
    declaration = read_declaration(WHOLE, "x.yaml")
    again = Declaration.model_validate(json.loads(declaration.model_dump_json()))
    assert declaration_digest(again) == declaration_digest(declaration)
