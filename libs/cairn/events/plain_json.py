"""What JSON admits and no event may hold: readers in other languages would each make something else of it."""

import json
import re
from typing import Any

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def find_ambiguity(payload: bytes) -> str:
    """Why a payload cannot be read in one way only: a field that is there twice, a NUL in a text; empty if it can.

    Says nothing about what is no JSON at all. Never raises.
    """
    try:
        json.loads(payload, object_pairs_hook=_refuse_duplicates)
    except _Twice as error:
        return f"the field {error.args[0]!r} is there twice"[:300]
    except (ValueError, RecursionError):
        return ""
    return find_nul(payload)


def find_nul(payload: bytes) -> str:
    """Says so where a text holds a NUL character, at which databases and C programs end it; else empty."""
    return "a text holds a NUL character" if b"\\u0000" in payload and _NUL.search(payload) else ""


class _Twice(Exception):
    """A field is there twice."""


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise _Twice(name)
        seen.add(name)
