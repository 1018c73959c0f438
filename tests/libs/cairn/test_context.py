"""Where a running Cairn is found: in the environment first, then in what `cairn up` left in its home."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cairn.context import ContextError, NotRunning, Running, load_context
from cairn.events import Signer, Trust
from cairn.events.signing import TrustError, UnsignedSource
from cairn.holding import hold


def running() -> Running:
    return Running(
        installation="cairn-laptop",
        bootstrap_servers="127.0.0.1:9092",
        objects="file:///objects",
        services={"registry": "http://127.0.0.1:8701/"},
        serving="http://127.0.0.1:8710",
        given_up={"monitor": "it ended with exit code 2"},
    )


@pytest.fixture
def held(tmp_path: Path) -> Iterator[None]:
    """A Cairn runs from the home: this process."""
    with hold(tmp_path):
        yield


@pytest.mark.usefixtures("held")
def test_what_cairn_up_left_is_enough(tmp_path: Path) -> None:
    running().save(tmp_path)

    context = load_context({"CAIRN_HOME": str(tmp_path)})

    assert context.home == tmp_path
    assert context.installation.name == "cairn-laptop"
    assert context.bootstrap_servers == "127.0.0.1:9092"
    assert context.objects() == "file:///objects"
    assert context.service_url("registry") == "http://127.0.0.1:8701"
    assert context.serving() == "http://127.0.0.1:8710"
    assert context.given_up == {"monitor": "it ended with exit code 2"}


def test_the_environment_alone_is_enough(tmp_path: Path) -> None:
    environ = {
        "KAFKA_BOOTSTRAP_SERVERS": "kafka-1:9092,[::1]:9092",
        "CAIRN_INSTALLATION": "cairn-staging",
        "CAIRN_OBJECTS": "s3://cairn",
        "CAIRN_GOVERNANCE_AUDITOR_URL": "http://auditor:8000/",
        "CAIRN_SERVING_URL": "https://serving",
    }

    context = load_context(environ, home=tmp_path)

    assert context.installation.name == "cairn-staging"
    assert context.bootstrap_servers == "kafka-1:9092,[::1]:9092"
    assert context.objects() == "s3://cairn"
    assert context.service_url("governance-auditor") == "http://auditor:8000"
    assert context.serving() == "https://serving"


@pytest.mark.usefixtures("held")
def test_the_environment_wins_over_what_cairn_up_left(tmp_path: Path) -> None:
    running().save(tmp_path)

    context = load_context({"CAIRN_REGISTRY_URL": "http://elsewhere", "CAIRN_OBJECTS": "/mnt"}, home=tmp_path)

    assert context.service_url("registry") == "http://elsewhere"
    assert context.objects() == "/mnt"
    assert context.bootstrap_servers == "127.0.0.1:9092"


@pytest.mark.usefixtures("held")
def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    running().save(tmp_path)

    assert load_context({"KAFKA_BOOTSTRAP_SERVERS": ""}, home=tmp_path).bootstrap_servers == "127.0.0.1:9092"


@pytest.mark.usefixtures("held")
def test_key_and_trust_are_taken_from_the_home(tmp_path: Path) -> None:
    running().save(tmp_path)
    (tmp_path / "keys").mkdir()
    Signer.generate("ada-1").save(tmp_path / "keys" / "user.key")
    Trust().save(tmp_path / "trust.json")

    context = load_context({}, home=tmp_path)

    assert context.signer
    assert context.signer.keyid == "ada-1"
    assert context.trust == Trust()


@pytest.mark.usefixtures("held")
def test_without_key_and_trust_there_is_neither(tmp_path: Path) -> None:
    running().save(tmp_path)

    context = load_context({}, home=tmp_path)

    assert (context.signer, context.trust) == (None, None)


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("setting", ["CAIRN_KEY_FILE", "CAIRN_TRUST_FILE"])
def test_a_named_file_that_is_not_there_is_no_matter_to_pass_over(tmp_path: Path, setting: str) -> None:
    running().save(tmp_path)

    with pytest.raises(TrustError, match=setting):
        load_context({setting: str(tmp_path / "gone")}, home=tmp_path)


def test_a_trust_file_may_not_admit_what_is_not_signed_where_a_signature_is_needed(tmp_path: Path) -> None:
    Trust(unsigned=(UnsignedSource(source="/plant/*", topics=("labels", "requests")),)).save(tmp_path / "trust.json")

    with pytest.raises(TrustError, match="unsigned on requests: everywhere but on datasets and labels"):
        Trust.load(tmp_path / "trust.json")


def test_nothing_set_and_nothing_running_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match=r"cairn up.*KAFKA_BOOTSTRAP_SERVERS"):
        load_context({}, home=tmp_path / "never")


def test_what_a_killed_one_left_does_not_count(tmp_path: Path) -> None:
    running().save(tmp_path)

    with pytest.raises(NotRunning, match=r"was killed.*cairn up"):
        load_context({}, home=tmp_path)


def test_what_a_killed_one_left_does_not_mix_with_the_environment(tmp_path: Path) -> None:
    running().save(tmp_path)

    context = load_context({"KAFKA_BOOTSTRAP_SERVERS": "other:9092"}, home=tmp_path)

    assert context.installation.name == "cairn"
    assert context.services == {}


@pytest.mark.usefixtures("held")
def test_one_that_is_still_starting_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="wait until `cairn up` says"):
        load_context({}, home=tmp_path)


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_file_is_named_with_the_cure(tmp_path: Path, content: str) -> None:
    (tmp_path / "up.json").write_text(content)

    with pytest.raises(ContextError, match=r"up\.json.*remove it"):
        load_context({}, home=tmp_path)


def test_fields_of_a_newer_version_are_passed_over(tmp_path: Path) -> None:
    running().save(tmp_path)
    file = tmp_path / "up.json"
    file.write_text(file.read_text().replace('"objects"', '"later": 1, "objects"'))

    assert Running.load(tmp_path) == running()


def test_saving_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    running().save(tmp_path)
    running().save(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["up.json"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092,"),
        ("KAFKA_BOOTSTRAP_SERVERS", "http://kafka:9092"),
        ("CAIRN_INSTALLATION", "Cairn"),
        ("CAIRN_INSTALLATION", "a" * 64),
        ("CAIRN_INSTALLATION", "cairn.staging"),
        ("CAIRN_REGISTRY_URL", "127.0.0.1:8701"),
        ("CAIRN_SERVING_URL", "file:///etc"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(tmp_path: Path, setting: str, value: str) -> None:
    with pytest.raises(ContextError, match=f"{setting} is {value!r}"):
        load_context({"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092", setting: value}, home=tmp_path)


def test_an_address_that_is_not_known_is_asked_for_by_name(tmp_path: Path) -> None:
    context = load_context({"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"}, home=tmp_path)

    with pytest.raises(ContextError, match="CAIRN_GOVERNANCE_AUDITOR_URL"):
        context.service_url("governance-auditor")
    with pytest.raises(ContextError, match="CAIRN_SERVING_URL"):
        context.serving()
    with pytest.raises(ContextError, match="CAIRN_OBJECTS"):
        context.objects()
