"""A parent that waits for its fork server to load this file, which takes the seconds that it is given.

It may end `early`, before that begins; or `stop` waiting.
"""

import asyncio
import os
import signal
import sys
import time
from multiprocessing import forkserver

from cairn.children import Children


async def load(how: str) -> None:
    """Wait for it, or not."""
    children = Children(("tests.libs.chassis.slowload",))
    if how == "early":
        children.start()
        print(forkserver._forkserver._forkserver_pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    loading = asyncio.create_task(children.load())
    if how == "stop":
        await asyncio.sleep(1)  # by then it loads
        loading.cancel()
    try:
        await loading
    except asyncio.CancelledError:
        print("stopped", flush=True)
    else:
        print("ready", flush=True)


if __name__ == "__main__":
    os.environ["LOAD_SECONDS"], *rest = sys.argv[1:]
    asyncio.run(load(*rest or ["wait"]))
elif __name__ != "__mp_main__":  # the child itself loads its parent, too
    print(os.getpid(), flush=True)
    time.sleep(float(os.environ["LOAD_SECONDS"]))
    print("loaded", flush=True)
