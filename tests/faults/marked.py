"""Commands whose every descendant can be found again."""

import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

CAIRN = (sys.executable, "-P", "-m", "cairn")


class Marked:
    """A command whose every descendant can be found by a mark in its environment."""

    def __init__(self, *arguments: str, errors: int = subprocess.DEVNULL, **environment: str) -> None:
        self.mark = f"CAIRN_TEST_MARK={uuid4().hex}"
        name, value = self.mark.split("=")
        self.process = subprocess.Popen(
            arguments,
            env={**os.environ, name: value, **environment},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )

    def alive(self) -> list[str]:
        """The command lines of all processes that carry the mark."""
        return [line[:100] for line in self._processes().values()]

    def process_of(self, ending: str) -> int:
        """The process whose command line ends so."""
        (pid,) = (pid for pid, line in self._processes().items() if line.endswith(f" {ending} "))
        return pid

    def _processes(self) -> dict[int, str]:
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
        return found

    def until(self, condition, seconds: float) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.alive()
            time.sleep(0.05)
