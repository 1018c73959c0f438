"""What a fork server loads last: it unties it, for from now on it looks for its parent's end itself.

The tie is to the thread that started it, which may end long before the process.
"""

from cairn.children.inside import signal_when_parent_ends

signal_when_parent_ends(0)
