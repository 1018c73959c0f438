"""What a fork server loads first: until all is loaded it does nothing else, so this acts as it is loaded.

It ties the fork server to its parent. `multiprocessing` has it look for its parent's end only once all is loaded, which
takes seconds. A parent that has ended by now is known by its session, which a fork server shares; where whatever took
the fork server over is of that session too, it ends once it has loaded.

And it spares the fork server the search for garbage, of which loading makes none.
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
