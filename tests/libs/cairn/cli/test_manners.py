"""How `cairn` behaves as a program among others: exit codes, pipes, signals, colours, speed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.libs.cairn.cli.conftest import Fake, Outcome
from tests.libs.cairn.installations import new_installation

from cairn.cli import build
from cairn.context import Context
from cairn.events import TOPICS, TrainingRequested
from cairn.publisher import Publisher

CAIRN = (sys.executable, "-c", "from cairn.cli import main; main()")
MANY_MODELS = {"models": [{"model": f"risk.m{n}", "owner": "x" * 200} for n in range(5000)]}

Cairn = Callable[..., Outcome]
Start = Callable[[dict[str, Any]], Fake]


def leaves() -> list[tuple[str, ...]]:
    """Every command, as its words."""
    app = build()
    names: list[tuple[str, ...]] = [
        (command.name or command.callback.__name__,) for command in app.registered_commands if command.callback
    ]
    for group in app.registered_groups:
        commands = group.typer_instance.registered_commands if group.typer_instance else []
        names += [(str(group.name), one.name or one.callback.__name__) for one in commands if one.callback]
    return names


GROUPS = [(str(group.name),) for group in build().registered_groups]


@pytest.mark.parametrize("words", [*leaves(), *GROUPS], ids=" ".join)
def test_every_command_explains_itself_with_an_example(cairn: Cairn, words: tuple[str, ...]) -> None:
    outcome = cairn(*words, "--help")

    assert outcome.code == 0
    assert f"Example: cairn {' '.join(words)}" in outcome.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--unknown",),
        ("no-such-command",),
        ("apply",),
        ("apply", "a.yaml", "b.yaml"),
        ("events", "tail", "--lines", "-1"),
        ("parked", "redrive", "registry", "requests", "zero", "0"),
        ("models", "show"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_so_on_stderr(cairn: Cairn, arguments: tuple[str, ...]) -> None:
    outcome = cairn(*arguments)

    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err


def test_the_version_is_told(cairn: Cairn) -> None:
    assert cairn("--version").out.startswith("cairn 0.")


def test_a_home_that_is_named_is_looked_at(cairn: Cairn, tmp_path: Path) -> None:
    assert f"no Cairn runs from {tmp_path}/elsewhere" in cairn("--home", tmp_path / "elsewhere", "status").err


def test_a_key_file_that_is_damaged_is_wrong_usage(
    cairn: Cairn, known_services: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.key").write_text("nonsense")
    monkeypatch.setenv("CAIRN_KEY_FILE", str(tmp_path / "bad.key"))
    known_services()

    outcome = cairn("status")

    assert outcome.code == 2
    assert "bad.key cannot be read" in outcome.err


def test_a_fault_of_ours_shows_no_traceback_unless_asked(cairn: Cairn, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("the unforeseen")

    monkeypatch.setattr("cairn.local.doctor.check", fail)

    assert cairn("doctor") == Outcome(1, "", "RuntimeError: the unforeseen (CAIRN_DEBUG=1 shows where)\n")

    monkeypatch.setenv("CAIRN_DEBUG", "1")
    with pytest.raises(RuntimeError):
        cairn("doctor")


def start(*arguments: str, environ: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([*CAIRN, *arguments], env={**os.environ, **(environ or {})}, **options)


def test_a_reader_that_has_had_enough_is_no_error(service: Start, known_services: Callable[..., None]) -> None:
    known_services(registry=service({"/models": (200, MANY_MODELS)}).url)

    child = start("models", "list", "--json")
    assert child.stdout
    assert child.stderr
    child.stdout.read(10)
    child.stdout.close()

    assert child.wait(20) == 0
    assert child.stderr.read() == b""
    child.stderr.close()


def test_a_reader_that_does_not_want_the_help_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)

    child = start("--help", stdout=writing)
    os.close(writing)

    _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (0, b"")


@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_program_without_stdout_or_stderr_still_ends_well(
    service: Start, known_services: Callable[..., None], closed: str
) -> None:
    known_services(registry=service({"/models": (200, {"models": []})}).url)
    command = f'exec "$@" {closed}>&-'

    done = subprocess.run(["sh", "-c", command, "sh", *CAIRN, "models", "list"], capture_output=True, check=False)

    assert done.returncode == 0
    assert b"Error" not in done.stderr


def test_a_full_disk_is_told_in_one_line(service: Start, known_services: Callable[..., None]) -> None:
    known_services(registry=service({"/models": (200, MANY_MODELS)}).url)

    with Path("/dev/full").open("wb") as full:
        child = start("models", "list", stdout=full)
        _, err = child.communicate(timeout=20)

    assert child.returncode == 1
    assert err == b"No space left on device\n"


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_that_want_them(
    service: Start, known_services: Callable[..., None], environ: dict[str, str], coloured: bool
) -> None:
    known_services(registry=service({"/readyz": (200, {"ready": True})}).url)
    master, slave = os.openpty()

    child = start("status", stdout=slave, environ={"TERM": "xterm-256color", "COLUMNS": "80", **environ})
    child.communicate(timeout=20)
    os.close(slave)
    shown = os.read(master, 10_000)
    os.close(master)

    assert b"registry" in shown
    assert (b"\x1b[32mready" in shown) == coloured


def test_data_in_a_pipe_has_no_colours(service: Start, known_services: Callable[..., None]) -> None:
    known_services(registry=service({"/models": (200, {"models": [{"model": "risk.loans"}]})}).url)

    out, err = start("models", "list").communicate(timeout=20)

    assert out == b"model\nrisk.loans\n"
    assert err == b""


@pytest.fixture
def _heeding_ctrl_c() -> Iterator[None]:
    """Has children heed SIGINT: they would inherit its being ignored from tests that run in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heeding_ctrl_c")
async def test_following_goes_on_until_ctrl_c(kafka: str, tmp_path: Path, point_at: Callable[[Context], None]) -> None:
    context = await new_installation(kafka, tmp_path, *TOPICS)
    point_at(context)
    async with Publisher(context) as publisher:
        await publisher.publish(TrainingRequested(model="risk.before"))
        child = start("events", "tail", "--follow", "--json")
        assert child.stdout
        assert child.stderr
        first = json.loads(child.stdout.readline())
        await publisher.publish(TrainingRequested(model="risk.after"))
        second = json.loads(child.stdout.readline())

    child.send_signal(signal.SIGINT)

    assert child.wait(20) == 130
    assert [first["data"]["model"], second["data"]["model"]] == ["risk.before", "risk.after"]
    assert child.communicate() == (b"", b"")


def test_nothing_heavy_is_loaded_to_explain_itself() -> None:
    code = "import sys; from cairn.cli import build, run; run(['--help']); print(sorted(sys.modules), file=sys.stderr)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = {name.partition(".")[0] for name in done.stderr.translate(str.maketrans("", "", "[]',")).split()}
    assert not loaded & {"aiokafka", "pydantic", "cryptography", "httpx2", "yaml", "asyncio", "minio"}


WRITES = {
    ("up",),
    ("down",),
    ("prepare",),
    ("demo",),
    ("apply",),
    ("publish", "dataset"),
    ("predict",),
    ("parked", "redrive"),
    ("store", "rebuild"),
}


@pytest.mark.parametrize("words", sorted(set(leaves()) - WRITES), ids=" ".join)
def test_every_command_that_reads_can_answer_with_json(cairn: Cairn, words: tuple[str, ...]) -> None:
    assert "--json" in cairn(*words, "--help").out


def test_the_shell_completes_what_is_typed() -> None:
    typed = {"_CAIRN_COMPLETE": "complete_bash", "COMP_WORDS": "cairn ev", "COMP_CWORD": "1"}
    done = subprocess.run(CAIRN, env={**os.environ, **typed}, capture_output=True, text=True, check=False)

    assert done.stdout.split() == ["events"]
