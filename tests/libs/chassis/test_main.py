"""The command line of a service: whatever is wrong with what it was told is said in one line."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cairn import loop
from cairn.events.identity import Installation
from cairn.local.keys import ensure_keys
from chassis import main
from registry.app import build
from registry.settings import Settings

USAGE, UNREACHABLE = 2, 3


@dataclass
class Machine:
    """What a service finds where it runs."""

    home: Path
    environment: dict[str, str]
    taken_port: int
    free_port: int
    new_postgres: Callable[[], str]


@pytest.fixture
def machine(tmp_path: Path, new_postgres: Callable[[], str]) -> Iterator[Machine]:
    ensure_keys(tmp_path / "keys", tmp_path / "trust.json", Installation(), "ada")
    (tmp_path / "a directory").mkdir()
    (tmp_path / "no database").write_text("There is nothing in here that SQLite could read. " * 100)
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as closed:
        free_port = closed.getsockname()[1]
        closed.close()
        environment = {
            "CAIRN_INSTALLATION": "cairn",
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port}",
            "DATABASE_URL": f"sqlite:///{tmp_path / 'registry.db'}",
            "CAIRN_OBJECTS": str(tmp_path / "objects"),
            "CAIRN_KEY_FILE": str(tmp_path / "keys/registry.key"),
            "CAIRN_TRUST_FILE": str(tmp_path / "trust.json"),
        }
        yield Machine(tmp_path, environment, taken.getsockname()[1], free_port, new_postgres)


@dataclass(frozen=True)
class Wrong:
    """Something that is wrong, and what is said of it."""

    code: int
    says: str
    """A pattern; `HOME` stands for the machine's folder."""
    environment: Mapping[str, str | None] = field(default_factory=dict)
    """Values may name the machine's `{home}`, `{taken}` and `{free}` port, and a new `{postgres}` database."""
    arguments: tuple[str, ...] = ()


WRONG = {
    "a port that is taken": Wrong(
        USAGE,
        r"CAIRN_PORT: 127\.0\.0\.1:\d+ cannot be opened \(Address already in use\): stop what uses it",
        {"CAIRN_PORT": "{taken}"},
    ),
    "an address of another machine": Wrong(
        USAGE, r"CAIRN_PORT: 192\.0\.2\.1:0 cannot be opened \(Cannot assign", {"CAIRN_HOST": "192.0.2.1"}
    ),
    "a port that is none": Wrong(USAGE, "CAIRN_PORT: Input should be less than", {"CAIRN_PORT": "70000"}),
    "an unknown failpoint": Wrong(
        USAGE, "CAIRN_FAILPOINTS: 'sometimes' is not one of after-commit, ", {"CAIRN_FAILPOINTS": "sometimes"}
    ),
    "a list of spent failpoints that is a directory": Wrong(
        USAGE,
        "CAIRN_FAILPOINTS_SPENT names HOME/a directory, which cannot be read: Is a directory",
        {"CAIRN_FAILPOINTS_SPENT": "{home}/a directory"},
    ),
    "objects in a place of no known kind": Wrong(
        USAGE, "CAIRN_OBJECTS: 'ftp://there' is not a place for objects: expected", {"CAIRN_OBJECTS": "ftp://there"}
    ),
    "objects in no bucket": Wrong(USAGE, "CAIRN_OBJECTS: 's3://' names no bucket", {"CAIRN_OBJECTS": "s3://"}),
    "objects in a bucket without a key for it": Wrong(
        USAGE, "CAIRN_OBJECTS: .*AWS_ACCESS_KEY_ID", {"CAIRN_OBJECTS": "s3://bucket", "AWS_ACCESS_KEY_ID": None}
    ),
    "objects where no directory can be": Wrong(
        UNREACHABLE, "/dev/null/objects", {"CAIRN_OBJECTS": "/dev/null/objects"}
    ),
    "a secret in a file that is not there": Wrong(
        USAGE,
        "DATABASE_URL_FILE names HOME/nothing, which cannot be read: No such file",
        {"DATABASE_URL": None, "DATABASE_URL_FILE": "{home}/nothing"},
    ),
    "a secret said twice": Wrong(
        USAGE, "DATABASE_URL and DATABASE_URL_FILE are both set: set one", {"DATABASE_URL_FILE": "{home}/nothing"}
    ),
    "a key for the bucket in a file that is not there": Wrong(
        USAGE,
        "AWS_SECRET_ACCESS_KEY_FILE names 'HOME/nothing', which cannot be read",
        {"CAIRN_OBJECTS": "s3://bucket", "AWS_SECRET_ACCESS_KEY_FILE": "{home}/nothing"},
    ),
    "no database": Wrong(USAGE, "DATABASE_URL: Field required", {"DATABASE_URL": None}),
    "a database that is no address": Wrong(
        USAGE, "DATABASE_URL is not the address of a database: use sqlite:///", {"DATABASE_URL": "registry.db"}
    ),
    "a database at a port that is none": Wrong(
        USAGE, "DATABASE_URL is not the address of a database", {"DATABASE_URL": "postgresql://me:secret@there:x/db"}
    ),
    "a database of another kind": Wrong(USAGE, "DATABASE_URL: mysql is not a store", {"DATABASE_URL": "mysql://a/b"}),
    "a database in a place that is no directory": Wrong(
        USAGE,
        "DATABASE_URL: the file /dev/null/x.db cannot be used: Not a directory",
        {"DATABASE_URL": "sqlite:////dev/null/x.db"},
    ),
    "a database that is a directory": Wrong(
        UNREACHABLE,
        "the store that DATABASE_URL names is out of reach: unable to open database file",
        {"DATABASE_URL": "sqlite:///{home}/a directory"},
    ),
    "a file that is no database": Wrong(
        USAGE,
        "DATABASE_URL: HOME/no database is damaged, or no SQLite file",
        {"DATABASE_URL": "sqlite:///{home}/no database"},
    ),
    "a database that nobody serves": Wrong(
        UNREACHABLE,
        r"the store that DATABASE_URL names is out of reach: .*127\.0\.0\.1\D*\d+ .*refused",
        {"DATABASE_URL": "postgresql://me:secret@127.0.0.1:{free}/db"},
    ),
    "a digest of a store that was never made": Wrong(USAGE, "the store has no tables", arguments=("digest",)),
    "a digest of a database that was never used": Wrong(
        USAGE, "the store has no tables", {"DATABASE_URL": "{postgres}"}, ("digest",)
    ),
    "no key": Wrong(USAGE, "there is no key file HOME/nothing", {"CAIRN_KEY_FILE": "{home}/nothing"}),
    "no trust": Wrong(USAGE, "there is no trust file HOME/nothing", {"CAIRN_TRUST_FILE": "{home}/nothing"}),
    "a Kafka at a port that is none": Wrong(
        USAGE, "KAFKA_BOOTSTRAP_SERVERS: .*'there:x' is not host:port", {"KAFKA_BOOTSTRAP_SERVERS": "there:x"}
    ),
    "a Kafka that nobody serves": Wrong(
        UNREACHABLE, r"Kafka at 127\.0\.0\.1:\d+ cannot be reached while connecting", arguments=("rebuild",)
    ),
    "a level that logs do not have": Wrong(USAGE, "LOG_LEVEL: Input should be 'debug'", {"LOG_LEVEL": "loud"}),
    "a word that is no command": Wrong(
        USAGE, "unknown command 'reset'; known are: run, rebuild, digest", arguments=("reset",)
    ),
    "a word too many": Wrong(USAGE, "rebuild: error: unrecognized arguments: now", arguments=("rebuild", "now")),
    "an unknown flag": Wrong(USAGE, "digest: error: unrecognized arguments: --rows", arguments=("digest", "--rows")),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_one_message(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    wrong = WRONG[name]
    known = {"home": machine.home, "taken": machine.taken_port, "free": machine.free_port}
    if "{postgres}" in "".join(filter(None, wrong.environment.values())):
        known["postgres"] = machine.new_postgres()
    for key, value in {**machine.environment, **wrong.environment}.items():
        if value is None:
            monkeypatch.delenv(key, raising=False)
        else:
            monkeypatch.setenv(key, value.format_map(known))
    monkeypatch.setattr(main, "configure_logs", lambda *_: None)  # they would stay so for all tests
    monkeypatch.setattr(loop, "run_program", loop.run)  # as above
    try:
        code = main.run_command(build, Settings, wrong.arguments)
    except SystemExit as ended:
        code = ended.code
    output, errors = capfd.readouterr()
    assert code == wrong.code, errors
    assert re.search(wrong.says.replace("HOME", re.escape(str(machine.home))), errors), errors
    assert ":secret" not in errors
    said = [line for line in errors.splitlines() if not line.startswith("usage: ")]
    assert (output, len(said)) == ("", 1), errors


def test_its_exit_code_is_that_of_the_process(machine: Machine) -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "registry", "digest"],
        env={**os.environ, **machine.environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == USAGE
    assert "the store has no tables" in ended.stderr
    assert "Traceback" not in ended.stderr
