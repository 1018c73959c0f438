"""Instants as text: RFC 3339, as CloudEvents asks for."""

import re
from datetime import UTC, datetime

_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII | re.IGNORECASE,
)


def parse_instant(text: str) -> datetime | None:
    """An RFC 3339 instant (section 5.6: date, T, time, offset), or None. No datetime can hold a leap second (:60)."""
    if not _INSTANT.fullmatch(text):
        return None
    try:
        instant = datetime.fromisoformat(text.upper())
        instant.astimezone(UTC)
    except (ValueError, OverflowError):  # what lies outside the calendar in UTC, nobody can convert
        return None
    return instant
