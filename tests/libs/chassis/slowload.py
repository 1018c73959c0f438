"""A parent that waits for its fork server to load this file, which takes the seconds that it is given.

It may be killed `early`, before that begins; `stop` waiting when it is told to; start it in a `thread` that ends; or
ask for a child only `once`.
"""

import asyncio
import os
import signal
import sys
import time
from multiprocessing import forkserver
from threading import Thread

from cairn.children import ChildDied, Children


async def load(how: str) -> None:
    """Wait for it, or not."""
    children = Children(("tests.libs.chassis.slowload",))
    if how == "early":
        children.start()
        print(forkserver._forkserver._forkserver_pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "thread":
        thread = Thread(target=lambda: asyncio.run(children.load()))
        thread.start()
        thread.join()
    if how == "once":
        try:
            await children.run("tests.libs.chassis.childwork:double", {"number": 21})
        except ChildDied as error:
            print(error, flush=True)
        return
    loading = asyncio.create_task(children.load())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, loading.cancel)
    try:
        await loading
    except asyncio.CancelledError:
        print("stopped", flush=True)
        return
    print("ready", flush=True)
    if how == "thread":
        print(forkserver._forkserver._forkserver_pid, flush=True)


if __name__ == "__main__":
    os.environ["LOAD_SECONDS"], *rest = sys.argv[1:]
    asyncio.run(load(*rest or ["wait"]))
elif __name__ != "__mp_main__":  # the child itself loads its parent, too
    print(os.getpid(), flush=True)
    time.sleep(float(os.environ["LOAD_SECONDS"]))
    print("loaded", flush=True)
