"""What commands need around them: an environment that points at an installation, and services that answer."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cairn.cli import run
from cairn.context import Context

Answers = dict[str, tuple[int, object]]


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Its output, read as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Fake:
    """A service that gives the same answers whenever it is asked."""

    url: str
    heard: list[tuple[str, str, Any]] = field(default_factory=list)
    """Method, path and body of each call."""


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "CAIRN_INSTALLATION", "CAIRN_HOME", "CAIRN_DEBUG", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cairn(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs `cairn` with some arguments."""

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(one) for one in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def service() -> Iterator[Callable[[Answers], Fake]]:
    """Starts a service that gives these answers: path to status and JSON."""
    with ExitStack() as stack:

        def start(answers: Answers) -> Fake:
            heard: list[tuple[str, str, Any]] = []
            server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(answers, heard))
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return Fake(f"http://127.0.0.1:{server.server_port}", heard)

        yield start


def _handler(answers: Answers, heard: list[tuple[str, str, Any]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the server calls it so
            size = int(self.headers.get("content-length", 0))
            heard.append((self.command, self.path, json.loads(self.rfile.read(size)) if size else None))
            status, body = answers.get(self.path, (404, {"title": "not found"}))
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815 # as above

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler


@pytest.fixture
def point_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Context], None]:
    """Has the environment name an installation, its keys and its trust."""

    def point(context: Context) -> None:
        assert context.signer
        assert context.trust
        context.signer.save(tmp_path / "test.key")
        context.trust.save(tmp_path / "trust.json")
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", context.bootstrap_servers)
        monkeypatch.setenv("CAIRN_INSTALLATION", context.installation.name)
        monkeypatch.setenv("CAIRN_OBJECTS", context.objects_url)
        monkeypatch.setenv("CAIRN_KEY_FILE", str(tmp_path / "test.key"))
        monkeypatch.setenv("CAIRN_TRUST_FILE", str(tmp_path / "trust.json"))

    return point


@pytest.fixture
def known_services(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the environment name services by their addresses, and a Kafka that is not asked."""

    def know(**urls: str) -> None:
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
        for name, url in urls.items():
            monkeypatch.setenv(f"CAIRN_{name.upper()}_URL", url)

    return know
