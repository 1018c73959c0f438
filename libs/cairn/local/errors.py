"""What can go wrong with servers on one machine. Every message is for a person: what is wrong, and what to do."""


class Missing(Exception):
    """Something that a server needs is not on this machine and cannot be fetched."""


class StartFailed(Exception):
    """A server was started and ended, or did not answer in time. The message carries the last lines of its log."""
