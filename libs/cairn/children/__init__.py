"""Child processes for heavy work: forked from a preloaded server, limited, not believed, and never orphaned."""

from cairn.children.inside import MOST_MESSAGE_BYTES, Limits
from cairn.children.parent import Child, ChildDied, ChildFailed, Children
