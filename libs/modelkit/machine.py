"""On what a piece of work ran, and what it consumed."""

import hashlib
import json
import platform
import resource
import time
from importlib.metadata import distributions

from cairn.events.values import Environment, Usage


def environment() -> Environment:
    """This process's Python, platform, and the digest of the sorted list of installed distributions and versions."""
    installed = sorted({f"{found.name.lower()}=={found.version}" for found in distributions() if found.name})
    lock = hashlib.sha256(json.dumps(installed, separators=(",", ":")).encode()).hexdigest()
    return Environment(python=platform.python_version(), platform=platform.platform()[:200], lock=f"sha256:{lock}")


class Meter:
    """Counts from its making on."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def usage(self) -> Usage:
        """What was consumed so far; the peak is the whole process's."""
        return Usage(
            wall_seconds=time.perf_counter() - self._wall,
            cpu_seconds=time.process_time() - self._cpu,
            peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )
