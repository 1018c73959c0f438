"""Why a request gets no answer."""


class Refused(Exception):
    """A request is not answered: an HTTP status, and a sentence for who sent it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class NotNow(Refused):
    """It cannot be answered at the moment; the same request may be later."""

    def __init__(self, text: str) -> None:
        super().__init__(503, text)
