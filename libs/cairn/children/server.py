"""What a fork server loads first: until all is loaded it does nothing else, so this acts as it is loaded.

It ties the fork server to the thread that started it. `multiprocessing` has it look for the end of its parent only once
all is loaded, which takes seconds. A parent that has ended by now is known by its session, which a fork server shares.
And it spares it the search for garbage, of which loading makes none: a child searches again, but not what it was forked
with.
"""

import gc
import os
import signal
import sys

from cairn.children.inside import signal_when_parent_ends

signal_when_parent_ends(signal.SIGKILL)
if os.getsid(os.getppid()) != os.getsid(0):
    sys.exit()
gc.disable()
