"""Which texts are instants: those that RFC 3339 knows, and that every reader reads alike."""

from datetime import UTC, datetime

import pytest

from cairn.events.instants import parse_instant

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["2026-01-01T12:00:00Z", "2026-01-01t12:00:00z", "2026-01-01T12:00:00.000000000Z", "2026-01-01T13:30:00+01:30"],
)
def test_an_instant_of_rfc_3339_is_read(text: str) -> None:
    assert parse_instant(text) == NOON


@pytest.mark.parametrize(
    "text",
    [
        "2026-W01-1T00:00:00Z",
        "20260101T000000Z",
        "2026-01-01 12:00:00Z",
        "2026-01-01T12Z",
        "2026-01-01T12:00Z",
        "2026-01-01T12:00:00,5Z",
        "2026-01-01T12:00:00",
        "2026-01-01T12:00:00+01",
        "2026-01-01T12:00:00+0100",
        "2026-01-01T12:00:00+01:00:30",
        "2026-02-30T12:00:00Z",
        "2026-12-31T23:59:60Z",
        "2026-01-01T12:00:00Z\n",
        "\uff12026-01-01T12:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "",
    ],
)
def test_what_is_none_is_not(text: str) -> None:
    assert parse_instant(text) is None
