"""Children: they work apart from their parent, within limits, and none is ever left behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cairn.children import MOST_MESSAGE_BYTES, ChildDied, ChildFailed, Children, Limits

WORK = "tests.libs.chassis.childwork"
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def children() -> Children:
    return Children(("cairn.events.values",))


def is_alive(pid: int) -> bool:
    """Whether a process is there and works: one that only waits to be counted is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def gone(*pids: int) -> bool:
    """Whether these processes end, soon."""
    for _ in range(500):
        if not any(map(is_alive, pids)):
            return True
        await asyncio.sleep(0.01)
    return False


async def test_a_child_gives_back_what_its_work_returns(children: Children) -> None:
    result = await children.run(f"{WORK}:double", {"number": 21})
    assert result["answer"] == 42
    assert result["pid"] != os.getpid()
    assert await gone(result["pid"])


async def test_every_message_on_the_way_is_heard_in_order_before_the_result(children: Children) -> None:
    heard: list[tuple[str, int]] = []
    await children.run(
        f"{WORK}:tell_on_the_way", {"count": 1000}, lambda kind, said: heard.append((kind, *said.values()))
    )
    assert heard == [("step", number) for number in range(1000)]


async def test_several_children_work_at_the_same_time(children: Children) -> None:
    results = await asyncio.gather(*(children.run(f"{WORK}:double", {"number": n}) for n in range(4)))
    assert [one["answer"] for one in results] == [0, 2, 4, 6]
    assert len({one["pid"] for one in results}) == 4


async def test_a_child_finds_loaded_what_was_preloaded(children: Children) -> None:
    names = ["cairn.events.values", "sklearn"]
    assert (await children.run(f"{WORK}:loaded", {"names": names}))["loaded"] == ["cairn.events.values"]


@pytest.mark.parametrize(
    ("named", "code", "text"), [(True, "unreadable", "this file is torn"), (False, "error", "'age'")]
)
async def test_an_error_of_the_work_comes_back_with_its_code(
    children: Children, named: bool, code: str, text: str
) -> None:
    with pytest.raises(ChildFailed) as caught:
        await children.run(f"{WORK}:fail", {"named": named})
    assert (caught.value.code, str(caught.value)) == (code, text)


async def test_work_that_does_not_exist_is_an_error_of_the_work(children: Children) -> None:
    with pytest.raises(ChildFailed, match="nowhere"):
        await children.run(f"{WORK}:nowhere", {})


async def test_what_a_child_sends_is_never_unpickled(children: Children, tmp_path: Path) -> None:
    path = tmp_path / "touched"
    with pytest.raises((ChildFailed, ChildDied)):
        await children.run(f"{WORK}:forge_pickle", {"path": str(path)})
    assert not path.exists()


@pytest.mark.parametrize(
    "message",
    [
        b"hello",
        b"\xff\x00",
        b"{}",
        b'["result"]',
        b'["result", 7]',
        b'["result", {"loss": NaN}]',
        b"[7, {}]",
        b'["error", {}]',
        b'["error", {"code": 7, "text": "x"}]',
        b"[" * 30_000,
    ],
)
async def test_a_message_of_another_form_is_told_and_not_believed(children: Children, message: bytes) -> None:
    with pytest.raises(ChildFailed, match="not of the form") as caught:
        await children.run(f"{WORK}:forge", {"bytes": message + b"\n", "stay": True})
    assert caught.value.code == "unreadable-message"


async def test_a_message_without_an_end_is_refused_when_it_is_too_long(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cairn.children.parent.MOST_MESSAGE_BYTES", 2**20)
    with pytest.raises(ChildFailed, match="longer than 1048576 bytes"):
        await children.run(f"{WORK}:flood", {})


async def test_a_child_that_ends_in_the_middle_of_a_message_is_missed(children: Children) -> None:
    with pytest.raises(ChildDied, match="killed or ran into a limit"):
        await children.run(f"{WORK}:forge", {"bytes": b'["result", {"a', "stay": False})


async def test_half_a_message_does_not_keep_its_parent_from_other_things(children: Children) -> None:
    running = asyncio.create_task(children.run(f"{WORK}:forge", {"bytes": b'["result", {"a', "stay": True}))
    await asyncio.sleep(0.5)  # by now the half is there; whoever waits for the rest in the loop never comes here
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_large_result_arrives_whole(children: Children) -> None:
    assert len((await children.run(f"{WORK}:give", {"bytes": 10 * 2**20, "number": 1}))["text"]) == 10 * 2**20


@pytest.mark.parametrize(
    ("spec", "text"),
    [({"bytes": 0, "number": "nan"}, "JSON"), ({"bytes": MOST_MESSAGE_BYTES, "number": 1}, "bytes long")],
)
async def test_a_result_that_cannot_be_sent_is_an_error_of_the_work(
    children: Children, spec: dict[str, Any], text: str
) -> None:
    with pytest.raises(ChildFailed, match=text):
        await children.run(f"{WORK}:give", spec)


async def test_an_error_of_who_listens_ends_the_child(children: Children) -> None:
    pids: list[int] = []

    def complain(_kind: str, said: dict[str, Any]) -> None:
        pids.extend(said.values())
        raise ValueError("I do not want to hear it")

    with pytest.raises(ValueError, match="do not want"):
        await children.run(f"{WORK}:burn", {}, complain)
    assert await gone(*pids)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_a_child_that_is_killed_is_missed_at_once(children: Children, number: signal.Signals) -> None:
    with pytest.raises(ChildDied, match="killed or ran into a limit"):
        await children.run(f"{WORK}:die", {"signal": int(number)})


async def test_a_child_gets_no_more_memory_than_it_may_have(children: Children) -> None:
    limits = Limits(memory_bytes=512 * 1024**2)
    assert await children.run(f"{WORK}:take_memory", {"bytes": 1024}, limits=limits) == {"length": 1024}
    with pytest.raises((ChildFailed, ChildDied)):
        await children.run(f"{WORK}:take_memory", {"bytes": 1024**3}, limits=limits)


async def test_a_child_writes_no_larger_file_than_it_may(children: Children, tmp_path: Path) -> None:
    path, limits = tmp_path / "large", Limits(file_bytes=1024**2)
    with pytest.raises((ChildFailed, ChildDied)):
        await children.run(f"{WORK}:write_file", {"path": str(path), "bytes": 2 * 1024**2}, limits=limits)
    assert path.stat().st_size <= 1024**2


async def test_a_child_that_waits_instead_of_working_is_ended_with_all_that_it_started(children: Children) -> None:
    pids: list[int] = []
    with pytest.raises(ChildDied, match=r"not done within 5 s.*ended"):
        await children.run(f"{WORK}:burn", {}, lambda _kind, said: pids.extend(said.values()), limits=Limits(seconds=5))
    assert len(pids) == 2
    assert await gone(*pids)


async def test_an_end_of_time_that_is_not_the_child_s_is_not_said_to_be(children: Children) -> None:
    def run_out(_kind: str, _said: dict[str, Any]) -> None:
        raise TimeoutError("the listener's own")

    with pytest.raises(TimeoutError, match="the listener's own"):
        await children.run(f"{WORK}:tell_on_the_way", {"count": 1}, run_out)


async def test_a_run_that_is_cancelled_leaves_no_process(children: Children) -> None:
    started: asyncio.Future[dict[str, int]] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(children.run(f"{WORK}:burn", {}, lambda _kind, pids: started.set_result(pids)))
    pids = await asyncio.wait_for(started, 30)
    assert all(map(is_alive, pids.values()))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await gone(*pids.values())


async def test_a_run_that_is_cancelled_while_it_starts_leaves_no_process_either(
    children: Children,
) -> None:
    before = descendants()
    for number in range(8):
        running = asyncio.create_task(children.run(f"{WORK}:sleep_long", {}))
        for _ in range(number):
            await asyncio.sleep(0.001)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 20)
    assert await gone(*(descendants() - before))


def descendants() -> set[int]:
    """All processes below this one."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = {os.getpid()}
    while new := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= new
    return found


def start_parent(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A parent in a session of its own, which prints the ids of what must not outlive it."""
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.libs.chassis.{module}", *arguments],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


@pytest.mark.parametrize("kill", [os.kill, os.killpg])
async def test_a_parent_that_is_killed_leaves_neither_a_child_nor_what_that_started(
    kill: Callable[[int, int], None],
) -> None:
    """Killed alone, or together with its fork server."""
    with start_parent("childwork") as parent:
        assert parent.stdout
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(is_alive, pids))
        kill(parent.pid, signal.SIGKILL)
        assert await gone(*pids)


async def test_a_parent_that_is_killed_before_its_child_begins_leaves_none() -> None:
    with start_parent("slowstart") as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        parent.kill()
        assert await gone(pid)


async def test_a_parent_that_is_killed_while_its_fork_server_loads_leaves_none() -> None:
    with start_parent("slowload", "60") as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
        assert await gone(pid)


async def test_a_parent_that_is_killed_before_its_fork_server_loads_leaves_none() -> None:
    with start_parent("slowload", "60", "early") as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert await gone(pid)


async def test_who_ends_waiting_for_children_to_load_does_not_wait_for_it() -> None:
    with start_parent("slowload", "60", "stop") as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGTERM)  # now that it loads
        assert parent.stdout.read() == b"stopped\n"
        assert await gone(pid)


async def test_a_child_whose_fork_server_is_killed_while_it_loads_has_died() -> None:
    with start_parent("slowload", "60", "once") as parent:
        assert parent.stdout
        os.kill(int(parent.stdout.readline()), signal.SIGKILL)
        assert b"did not start: it was killed, or its fork server was" in parent.stdout.read()


async def test_a_fork_server_outlives_the_thread_that_started_it() -> None:
    with start_parent("slowload", "0", "thread") as parent:
        assert parent.stdout
        pid, *said = parent.stdout.read().split()
        assert said == [b"loaded", b"ready", pid]


def test_who_waits_for_children_to_load_goes_on_when_they_have() -> None:
    with start_parent("slowload", "0.5") as parent:
        assert parent.stdout
        _pid, *said = parent.stdout.read().split()
        assert said == [b"loaded", b"ready"]


async def test_a_child_that_is_killed_leaves_nothing_that_it_started(children: Children) -> None:
    pids: list[int] = []

    def kill(_kind: str, said: dict[str, Any]) -> None:
        pids.extend(said.values())
        os.kill(said["mine"], signal.SIGKILL)

    with pytest.raises(ChildDied):
        await children.run(f"{WORK}:burn", {}, kill)
    assert await gone(*pids)


async def test_a_child_that_stays_answers_until_it_is_closed(children: Children) -> None:
    child = children.open(f"{WORK}:answer", {"prefix": b"heard "})
    assert child.receive() == b"ready"
    assert [child.ask(message) for message in (b"one", b"two")] == [b"heard one", b"heard two"]
    pid = child.pid
    child.close()
    assert await gone(pid)


async def test_a_child_that_stays_and_dies_is_missed_by_who_asks(children: Children) -> None:
    child = children.open(f"{WORK}:answer", {"prefix": b""})
    assert child.receive() == b"ready"
    with pytest.raises(ChildDied):
        child.ask(b"die")
    with pytest.raises(ChildDied):
        child.ask(b"are you there?")
    child.close()


async def test_an_answer_that_is_too_long_is_refused(children: Children) -> None:
    child = children.open(f"{WORK}:answer", {"prefix": b"", "flood": MOST_MESSAGE_BYTES + 1})
    assert child.receive() == b"ready"
    with pytest.raises(ChildDied, match="longer than"):
        child.ask(b"flood")
    child.close()


async def test_a_child_that_stays_can_be_killed_while_somebody_waits_for_it(children: Children) -> None:
    child = children.open(f"{WORK}:answer", {"prefix": b""})
    assert child.receive() == b"ready"
    waiting = asyncio.create_task(asyncio.to_thread(child.receive))
    await asyncio.sleep(0)
    child.kill()
    with pytest.raises(ChildDied):
        await asyncio.wait_for(waiting, 20)
    child.close()
