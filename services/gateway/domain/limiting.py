"""How much somebody may post: a token bucket."""

from dataclasses import dataclass

from gateway.domain.configuration import Rate


@dataclass(frozen=True, slots=True)
class Bucket:
    """What somebody has left, in events, at an instant of a steady clock, in seconds."""

    level: float
    at: float


def draw(bucket: Bucket | None, rate: Rate, now: float, events: int) -> tuple[Bucket, float]:
    """Take so many events from a bucket, None being a new one; what is left, and the seconds to wait if too little is.

    Who must wait takes nothing.
    """
    bucket = bucket or Bucket(rate.burst, now)
    level = min(float(rate.burst), bucket.level + (now - bucket.at) * rate.events_per_second)
    if level >= events:
        return Bucket(level - events, now), 0.0
    return Bucket(level, now), (events - level) / rate.events_per_second
