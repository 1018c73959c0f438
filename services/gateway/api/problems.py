"""Refusals as RFC 9457 has them: `application/problem+json`, naming the fields."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

PROBLEM = "application/problem+json"
MOST_ERRORS = 20
"""So many faults are written out."""


class Refused(Exception):
    """A request is not granted: a status, a sentence, and each fault at its place."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.errors, self.headers = status, errors, dict(headers or {})

    def as_response(self) -> JSONResponse:
        """The problem document."""
        content: dict[str, Any] = {"title": HTTPStatus(self.status).phrase, "status": self.status, "detail": str(self)}
        if self.errors:
            content["errors"] = list(self.errors[:MOST_ERRORS])
        return JSONResponse(content, self.status, self.headers, media_type=PROBLEM)


def later(status: int, detail: str, seconds: float) -> Refused:
    """A refusal of something that may be granted in so many seconds."""
    return Refused(status, detail, headers={"retry-after": str(max(1, round(seconds + 0.5)))})
