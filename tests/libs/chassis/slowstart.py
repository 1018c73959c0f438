"""A parent whose children take a while to begin: each loads this file before it works."""

import asyncio
import os
import time

from cairn.children import Children

if __name__ == "__mp_main__":
    print(os.getpid(), flush=True)
    time.sleep(1)

if __name__ == "__main__":
    asyncio.run(Children(()).run("tests.libs.chassis.childwork:sleep_long", {}))
