"""How long to wait before trying again."""

_MOST_DOUBLINGS = 10


def backoff_seconds(failures: int, first: float, most: float) -> float:
    """Twice as long after each failure, up to `most`; any number of failures is safe."""
    return min(most, first * float(2 ** min(failures, _MOST_DOUBLINGS)))
