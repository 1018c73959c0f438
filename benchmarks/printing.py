"""How figures are printed: one line each, with the ratio to the floor."""

import statistics
from collections.abc import Sequence


def show_rate(what: str, rates: Sequence[float], floor: Sequence[float] | None = None, unit: str = "events/s") -> None:
    """The median of some runs, their spread, and the ratio to the floor's median."""
    median = statistics.median(rates)
    spread = (max(rates) - min(rates)) / median if median else 0
    ratio = f"   {median / statistics.median(floor):6.2f} of the floor" if floor else "   (floor)"
    print(f"{what:<58} {median:12,.0f} {unit}  spread {spread:4.0%}{ratio}", flush=True)


def show(what: str, value: str) -> None:
    """One figure that has no floor."""
    print(f"{what:<58} {value}", flush=True)
