"""`cairn store`: what it says to a user who asks for what is not there."""

from collections.abc import Callable
from pathlib import Path

from tests.libs.cairn.cli.conftest import Outcome

Cairn = Callable[..., Outcome]


def test_a_home_from_which_nothing_ever_ran_is_named(cairn: Cairn, tmp_path: Path) -> None:
    outcome = cairn("--home", tmp_path / "elsewhere", "store", "rebuild", "registry")

    assert outcome.code == 3
    assert f"no Cairn ever ran from {tmp_path}/elsewhere" in outcome.err
    assert not (tmp_path / "elsewhere").exists()


def test_a_service_that_is_none_is_wrong_usage(cairn: Cairn) -> None:
    assert "there is no service 'registrar'" in cairn("store", "digest", "registrar").err
