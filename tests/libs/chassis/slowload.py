"""A parent that waits for its fork server to load this file, which takes the seconds that it is given."""

import asyncio
import os
import sys
import time

from cairn.children import Children

if __name__ == "__main__":
    os.environ["LOAD_SECONDS"] = sys.argv[1]
    asyncio.run(Children(("tests.libs.chassis.slowload",)).load())
    print("ready", flush=True)
elif __name__ != "__mp_main__":  # the child itself loads its parent, too
    print(os.getpid(), flush=True)
    time.sleep(float(os.environ["LOAD_SECONDS"]))
    print("loaded", flush=True)
