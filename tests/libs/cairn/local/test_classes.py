"""What a Java server has loaded once is kept for the next start, and is never in its way."""

import asyncio
import errno
import shutil
from pathlib import Path

import pytest

from cairn.local.classes import ClassArchive
from cairn.local.java import find_java


@pytest.fixture
def archive(tmp_path: Path) -> ClassArchive:
    """Of a server in a folder of its own, whose one jar lies in a cache."""
    jar = tmp_path / "cache" / "server.jar"
    jar.parent.mkdir()
    jar.touch()
    (tmp_path / "server").mkdir()
    return ClassArchive.of(find_java().path, [jar], tmp_path / "server")


def leave(archive: ClassArchive, content: bytes = b"classes") -> None:
    archive.made.write_bytes(content)
    archive.keep()


def test_the_first_server_leaves_its_classes_and_the_next_uses_them(archive: ClassArchive) -> None:
    assert archive.reading == ()
    assert archive.options[0] == "-XX:ArchiveClassesAtExit=classes.jsa"
    leave(archive)
    assert archive.kept
    assert archive.kept.read_bytes() == b"classes"
    assert not archive.made.exists()
    assert archive.options == archive.reading == (f"-XX:SharedArchiveFile={archive.kept}",)


def test_a_server_that_was_killed_leaves_nothing(archive: ClassArchive) -> None:
    archive.keep()
    assert archive.reading == ()


def test_half_an_archive_is_not_used_and_replaced(archive: ClassArchive) -> None:
    leave(archive)
    assert archive.kept
    archive.kept.write_bytes(b"clas")
    assert archive.reading == ()
    leave(archive)
    assert archive.kept
    assert len([*archive.cache.glob("*.jsa")]) == 1


def test_a_cache_that_is_gone_stays_gone(archive: ClassArchive) -> None:
    (archive.cache / "server.jar").unlink()
    archive.cache.rmdir()
    leave(archive)
    assert archive.reading == ()
    assert not archive.made.exists()


def test_a_cache_that_cannot_be_written_stays_as_it_is(archive: ClassArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(shutil, "copyfile", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    leave(archive)
    assert archive.reading == ()


def test_another_java_or_another_jar_has_another_archive(archive: ClassArchive, tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.touch()
    jar = archive.cache / "server.jar"
    with_another_java = ClassArchive.of(java, [jar], tmp_path).key
    jar.write_bytes(b"another")
    with_another_jar = ClassArchive.of(find_java().path, [jar], tmp_path).key
    assert len({archive.key, with_another_java, with_another_jar}) == 3


async def test_java_starts_with_what_it_cannot_use(archive: ClassArchive) -> None:
    leave(archive, b"no archive")
    assert archive.reading
    child = await asyncio.create_subprocess_exec(
        find_java().path, *archive.reading, "-version", stderr=asyncio.subprocess.PIPE
    )
    _, said = await child.communicate()
    assert child.returncode == 0, said
    assert b"version" in said
