"""What a Java server has loaded once is kept for the next start, and is never in its way."""

import asyncio
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


def test_the_first_server_leaves_its_classes_and_the_next_uses_them(archive: ClassArchive) -> None:
    assert archive.reading == ()
    assert archive.options[0] == "-XX:ArchiveClassesAtExit=classes.jsa"
    archive.made.write_bytes(b"classes")
    archive.keep()
    assert archive.kept.read_bytes() == b"classes"
    assert not archive.made.exists()
    assert archive.options == archive.reading == (f"-XX:SharedArchiveFile={archive.kept}",)


def test_a_server_that_was_killed_leaves_nothing(archive: ClassArchive) -> None:
    archive.keep()
    assert archive.reading == ()


def test_a_cache_that_cannot_be_written_stays_as_it_is(archive: ClassArchive) -> None:
    archive.made.write_bytes(b"classes")
    (archive.kept.parent / "server.jar").unlink()
    archive.kept.parent.rmdir()
    archive.keep()
    assert archive.reading == ()
    assert not archive.made.exists()


def test_another_java_or_another_jar_has_another_archive(archive: ClassArchive, tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.touch()
    jar = archive.kept.parent / "server.jar"
    with_another_java = ClassArchive.of(java, [jar], tmp_path).kept
    jar.write_bytes(b"another")
    with_another_jar = ClassArchive.of(find_java().path, [jar], tmp_path).kept
    assert len({archive.kept, with_another_java, with_another_jar}) == 3


async def test_java_starts_with_what_it_cannot_use(archive: ClassArchive) -> None:
    archive.kept.write_bytes(b"no archive")
    child = await asyncio.create_subprocess_exec(
        find_java().path, *archive.reading, "-version", stderr=asyncio.subprocess.PIPE
    )
    _, said = await child.communicate()
    assert child.returncode == 0, said
    assert b"version" in said
