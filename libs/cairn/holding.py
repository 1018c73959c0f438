"""Who holds a home: `cairn up` locks it as long as it runs, however it ends, and says there which process it is."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

LOCK_FILE = "up.lock"

_TRIES = 20
_PAUSE_SECONDS = 0.05


class HomeHeld(Exception):
    """A Cairn runs from this home already, or one that cannot be asked to end does."""


def hold(home: Path) -> IO[str]:
    """Hold the home for this process until the file is closed or the process ends. Blocks for a second at most.

    Raises HomeHeld if another process holds it, OSError if the home cannot be written.
    """
    file = (home / LOCK_FILE).open("a+", encoding="ascii")
    for _ in range(_TRIES):  # those who only look lock it too, for a moment
        if _try_lock(file, exclusive=True):
            file.truncate(0)
            json.dump({"pid": os.getpid(), "started": _started(os.getpid())}, file)
            file.flush()
            return file
        time.sleep(_PAUSE_SECONDS)
    file.close()
    raise HomeHeld(f"a Cairn runs from {home} already: stop it with `cairn down`")


def is_held(home: Path) -> bool:
    """Whether a Cairn runs from this home, starts or stops. Raises OSError for a home that cannot be read."""
    try:
        with (home / LOCK_FILE).open(encoding="ascii") as file:
            return not _try_lock(file, exclusive=False)
    except (FileNotFoundError, NotADirectoryError):
        return False


def ask_to_end(home: Path) -> int | None:
    """Ask the process that holds the home to end, and give its number; None where nobody holds it.

    Raises HomeHeld when it is not certain which process that is: no other one is ever sent a signal.
    """
    try:
        said = json.loads((home / LOCK_FILE).read_bytes())
        pid, started = int(said["pid"]), str(said["started"])
    except (OSError, ValueError, KeyError, TypeError):
        pid, started = 0, ""
    if not is_held(home):
        return None
    if not started or _started(pid) != started:  # a stranger of the same number, or one in another container
        raise HomeHeld(
            f"a Cairn runs from {home}, but its process cannot be told from here: stop it where it was started"
        )
    os.kill(pid, signal.SIGTERM)
    return pid


def _try_lock(file: IO[str], *, exclusive: bool) -> bool:
    import fcntl  # where there is none, nobody can hold a home

    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _started(pid: int) -> str:
    """When a process started, in its system's words; empty when there is none. With its number it names one alone."""
    if sys.platform != "linux":
        told = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607 # a number
        return told.stdout.strip()
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
