"""Why a request gets no answer."""


class Refused(Exception):
    """A request is not answered: an HTTP status, and a sentence for who sent it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


RETRY_SECONDS = 1
"""What `NotNow` advises: most of what it is said for passes within a second."""


class NotNow(Refused):
    """It cannot be answered at the moment; the same request may be later."""

    def __init__(self, text: str) -> None:
        super().__init__(503, text)


def is_askers_fault(error: Exception) -> bool:
    """Whether the request itself is not answerable, and not this process or its model at fault."""
    return isinstance(error, Refused) and error.status < 500
