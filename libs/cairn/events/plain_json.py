"""What JSON admits and no event may hold: readers in other languages would each make something else of it."""

import json
import re
from math import isinf
from typing import Any, NoReturn

_CHARACTERS = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters that JSON admits as they are, and those that turn the direction of writing round."""
_ESCAPES = re.compile(
    r"(?<!\\)(?:\\\\)*\\(?:([bf])|u((?i:00(?:0[0-8bcef]|1[0-9a-f]|7f|[89][0-9a-f])|202[a-e]|206[6-9])))"
)
"""The same escaped, and further control characters; what breaks or indents a line is admitted."""
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SURELY_FINITE = 300
"""An integer with no more digits than so is no larger than a double can be."""
_MANY_DIGITS = b"0" * _SURELY_FINITE
_AS_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
_SHORT = {"b": "0008", "f": "000C"}


def find_ambiguity(payload: bytes) -> str:
    """Why a payload cannot be read in one way only; empty if it can.

    A field that is there twice; a number that not everybody can hold or tell from others (NaN, 1e400, -0); a character
    that ends, hides or turns round a text. Says nothing about what is no JSON at all. Never raises.
    """
    try:
        text = payload.decode()
        _DECODER.decode(text)
    except _Ambiguous as error:
        return str(error)[:300]
    except (ValueError, RecursionError):
        return ""
    return _find_character(text)


def find_ambiguity_in_rewritten(payload: bytes) -> str:
    """As `find_ambiguity`, in a fraction of its time, for what a library wrote after it had parsed it.

    That holds no field twice and no -0; a number that is too large stands there as Infinity, or in all its digits.
    """
    if b"Infinity" in payload or b"NaN" in payload or _MANY_DIGITS in payload.translate(_AS_ZEROS):
        return find_ambiguity(payload)
    return _find_character(payload.decode())


def find_nul(payload: bytes) -> str:
    """Says so where a text holds a NUL character, at which databases and C programs end it; else empty."""
    return "a text holds a NUL character" if b"\\u0000" in payload and _NUL.search(payload) else ""


class _Ambiguous(Exception):
    """What it is that cannot be read in one way only."""


def _find_character(text: str) -> str:
    if not text.isascii() and (found := _CHARACTERS.search(text)):
        code = f"{ord(found[0]):04X}"
    elif "\\" in text and (found := _ESCAPES.search(text)):
        code = _SHORT.get(found[1] or "", "") or found[2].upper()
    elif "\x7f" in text:
        code = "007F"
    else:
        return ""
    return f"a text holds the character U+{code}, which may not stand in texts"


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Ambiguous(f"the field {twice!r} is there twice")


def _refuse_odd_integer(text: str) -> None:
    if text == "-0":
        raise _Ambiguous("the integer -0 is there: write 0")
    if len(text) > _SURELY_FINITE:
        _refuse_endless(text)


def _refuse_endless(text: str) -> None:
    if isinf(float(text)):
        raise _Ambiguous(f"the number {text[:40]} is larger than a double can be")


def _refuse_constant(text: str) -> NoReturn:
    raise _Ambiguous(f"{text} is there, which is no number in JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_refuse_duplicates,
    parse_int=_refuse_odd_integer,
    parse_float=_refuse_endless,
    parse_constant=_refuse_constant,
)
