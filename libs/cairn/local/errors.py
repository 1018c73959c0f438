"""What can go wrong with servers on one machine. Every message is for a person: what is wrong, and what to do."""


class Missing(Exception):
    """Something that a server needs is not on this machine and cannot be fetched: what, and what to do about it."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(f"{what}. To cure it: {cure}.")
        self.what = what
        self.cure = cure


class StartFailed(Exception):
    """A server was started and ended, or did not answer in time. The message carries the last lines of its log."""
