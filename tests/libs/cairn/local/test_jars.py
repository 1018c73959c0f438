import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cairn.local import Missing, jars
from cairn.local.jars import FetchStopped, Jar, absent, fetch, jar_cache, kafka_jars

CONTENT = b"the bytes of a jar " * 1000


def jar(artifact: str, content: bytes = CONTENT) -> Jar:
    return Jar("org.example", artifact, "1.0", "", hashlib.sha256(content).hexdigest(), len(content))


STONE, CAIRN = jar("stone"), jar("cairn")


@dataclass
class Registry:
    """A Maven registry with what a test puts in: for each path the answers, of which the last is repeated."""

    answers: dict[str, list[bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def holds(self, wanted: Jar, *answers: bytes) -> None:
        self.answers[f"/org/example/{wanted.artifact}/1.0/{wanted.file_name}"] = list(answers)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    held = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            held.asked.append(self.path)
            answers = held.answers.get(self.path)
            if not answers:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))  # so a shorter answer is one that broke off
            self.end_headers()
            self.wfile.write(answers.pop(0) if len(answers) > 1 else answers[0])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    use_mirror(server.server_port, tmp_path, monkeypatch)
    yield held
    server.shutdown()
    server.server_close()


def use_mirror(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "jgo.conf"
    settings.write_text(f"[repositories]\ncentral = http://127.0.0.1:{port}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(jars, "_PAUSE_SECONDS", 0)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "jars"


def test_jars_are_fetched_once_and_then_had_without_the_registry(registry: Registry, cache: Path) -> None:
    for wanted in (STONE, CAIRN):
        registry.holds(wanted, CONTENT)
    files = fetch([STONE, CAIRN], cache)
    assert files == [cache / "stone-1.0.jar", cache / "cairn-1.0.jar"]
    assert [file.read_bytes() for file in files] == [CONTENT, CONTENT]
    registry.asked.clear()
    assert fetch([STONE, CAIRN], cache) == files
    assert not registry.asked
    assert sorted(cache.iterdir()) == sorted(files)


def test_progress_is_shown_on_stderr_and_nothing_on_stdout(
    registry: Registry, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    registry.holds(STONE, CONTENT)
    fetch([STONE], cache)
    shown = capfd.readouterr()
    assert "stone-1.0.jar" in shown.err
    assert not shown.out


def test_a_jar_with_a_wrong_digest_is_refused(registry: Registry, cache: Path) -> None:
    registry.holds(STONE, CONTENT.swapcase())
    with pytest.raises(Missing, match=r"stone-1\.0\.jar arrived with other bytes"):
        fetch([STONE], cache)
    assert not list(cache.iterdir())


def test_a_download_that_broke_off_is_tried_again(registry: Registry, cache: Path) -> None:
    registry.holds(STONE, CONTENT[:100], CONTENT[:5000], CONTENT)
    (file,) = fetch([STONE], cache)
    assert file.read_bytes() == CONTENT


def test_a_download_that_always_breaks_off_leaves_nothing_behind(registry: Registry, cache: Path) -> None:
    registry.holds(STONE, CONTENT[:100])
    with pytest.raises(Missing, match=r"stone-1\.0\.jar cannot be fetched"):
        fetch([STONE], cache)
    assert not list(cache.iterdir())


def test_fetching_ends_soon_after_it_was_stopped_and_leaves_nothing_behind(registry: Registry, cache: Path) -> None:
    registry.holds(STONE, CONTENT)
    stop = threading.Event()
    stop.set()
    with pytest.raises(FetchStopped):
        fetch([STONE], cache, stop)
    assert not list(cache.iterdir())


def test_a_half_jar_in_the_cache_is_not_believed(registry: Registry, cache: Path) -> None:
    registry.holds(STONE, CONTENT)
    cache.mkdir(parents=True)
    (cache / STONE.file_name).write_bytes(CONTENT[:100])
    (file,) = fetch([STONE], cache)
    assert file.read_bytes() == CONTENT


def test_a_changed_jar_in_the_cache_is_not_believed(registry: Registry, cache: Path) -> None:
    registry.holds(STONE, CONTENT)
    cache.mkdir(parents=True)
    (cache / STONE.file_name).write_bytes(CONTENT.swapcase())
    assert absent([STONE], cache) == [STONE]
    (file,) = fetch([STONE], cache)
    assert file.read_bytes() == CONTENT


def test_what_arrived_stays_when_another_jar_cannot_be_had(registry: Registry, cache: Path) -> None:
    registry.holds(STONE, CONTENT)
    with pytest.raises(Missing, match=r"cairn-1\.0\.jar cannot be fetched"):
        fetch([STONE, CAIRN], cache)
    assert absent([STONE, CAIRN], cache) == [CAIRN]


def test_an_unreachable_registry_is_told_with_what_to_do(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_mirror(9, tmp_path, monkeypatch)
    with pytest.raises(Missing, match=r"stone-1\.0\.jar cannot be fetched.*look at the network.*mirror"):
        fetch([STONE], cache)


def test_a_cache_that_cannot_be_written_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(Missing, match="set CAIRN_CACHE"):
        fetch([STONE], tmp_path / "cache" / "jars")


def test_the_pinned_list_names_every_jar_of_kafka_once() -> None:
    pinned = kafka_jars()
    assert len({each.file_name for each in pinned}) == len(pinned) == 46
    assert all(len(bytes.fromhex(each.sha256)) == 32 and each.size_bytes > 0 for each in pinned)
    assert "kafka_2.13-4.3.1.jar" in {each.file_name for each in pinned}


def test_a_classifier_is_part_of_the_name() -> None:
    assert replace(STONE, classifier="all").file_name == "stone-1.0-all.jar"


def test_the_cache_is_where_the_environment_says(tmp_path: Path) -> None:
    assert jar_cache({"CAIRN_CACHE": str(tmp_path)}) == tmp_path / "jars"
    assert jar_cache({}).parts[-2:] == ("cairn", "jars")
