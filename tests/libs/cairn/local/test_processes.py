import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cairn.local import processes
from cairn.local.processes import start

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child with its parent")

PARENT = """
import asyncio, sys
from cairn.local.processes import start

async def main():
    child = await start("child", sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)")
    async for line in child.lines():
        print(child.pid, flush=True)

asyncio.run(main())
"""

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(grandchild.pid, flush=True)
time.sleep(600)
"""


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while runs(pid):
            await asyncio.sleep(0.01)


@linux_only
async def test_a_child_dies_with_its_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert runs(pid)
        parent.kill()
    await until_gone(pid)


@linux_only
async def test_a_child_whose_parent_died_before_it_began_never_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes.os, "getpid", lambda: -1)  # so the child finds itself with another parent
    child = await start("child", "touch", "begun", directory=tmp_path)
    assert await child.wait() == 137
    assert not list(tmp_path.iterdir())


@linux_only
async def test_a_child_that_ignores_a_polite_request_is_killed_with_all_that_it_started() -> None:
    child = await start("stubborn", sys.executable, "-c", STUBBORN)
    grandchild = int(await anext(child.lines()))
    assert await child.terminate(grace_seconds=0.3) == -signal.SIGKILL
    await until_gone(grandchild)


async def test_a_child_that_ends_when_asked_tells_its_own_exit_code() -> None:
    polite = "import signal, sys; signal.signal(15, lambda *_: sys.exit(7)); print('up', flush=True); signal.pause()"
    child = await start("polite", sys.executable, "-c", polite)
    assert child.exit_code is None
    assert await anext(child.lines()) == "up"
    assert await child.terminate(grace_seconds=10) == 7
    assert child.exit_code == 7


async def test_ending_a_child_twice_is_ending_it_once() -> None:
    child = await start("child", "sleep", "600")
    assert await child.kill() == -signal.SIGKILL
    assert await child.kill() == -signal.SIGKILL
    assert await child.terminate(grace_seconds=10) == -signal.SIGKILL


async def test_a_ctrl_c_in_the_terminal_does_not_reach_a_child() -> None:
    child = await start("child", "sleep", "600")
    assert os.getsid(child.pid) == child.pid != os.getsid(0)
    await child.kill()


async def test_lines_come_as_they_are_written_errors_among_them() -> None:
    child = await start("child", "sh", "-c", "echo one; echo two >&2; printf 'th\\377ree\\r\\n'; printf four")
    assert [line async for line in child.lines()] == ["one", "two", "th\N{REPLACEMENT CHARACTER}ree", "four"]
    assert await child.wait() == 0


async def test_a_line_without_end_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LINE_BYTES", 100_000)
    child = await start("child", "sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x")
    pieces = [line async for line in child.lines()]
    assert len(pieces) > 1
    assert "".join(pieces) == "x" * 1_000_000


async def test_output_goes_behind_what_is_in_the_log_already(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    child = await start("child", "sh", "-c", "echo $GREETING; pwd >&2", directory=tmp_path, log=log, environment=HELLO)
    assert await child.wait() == 0
    assert log.read_text() == f"before\nhello\n{tmp_path}\n"
    with pytest.raises(ValueError, match="log file"):
        await anext(child.lines())


async def test_a_program_that_does_not_exist_is_an_error_at_once() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        await start("child", "no-such-program")


HELLO = {"GREETING": "hello", "PATH": os.environ["PATH"]}
