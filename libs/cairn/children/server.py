"""What a fork server loads first: until all is loaded it does nothing else, so this acts as it is loaded.

It ties the fork server to the thread that started it. `multiprocessing` has it look for the end of its parent only once
all is loaded, which takes seconds; a parent that ends before this is loaded is noticed as late. And it spares it the
search for garbage, of which loading makes none: a child searches again, but not what it was forked with.
"""

import gc
import signal

from cairn.children.inside import signal_when_parent_ends

signal_when_parent_ends(signal.SIGKILL)
gc.disable()
