"""Tells Cairn the true answer to a prediction: `python examples/publish.py risk.loans defaulted PREDICTION_ID 0`.

Where Cairn is and who speaks is read from the environment, or from what `cairn up` left in `.cairn`.
"""

import asyncio
import os
import sys
from datetime import UTC, datetime

from cairn.context import load_context
from cairn.events import LabelsObserved
from cairn.events.labels import Label
from cairn.publisher import Publisher


async def main(model: str, target: str, prediction_id: str, value: str) -> None:
    """Publish one label, and wait until Kafka has it."""
    label = Label(prediction_id=prediction_id, observed_at=datetime.now(UTC), value=int(value))
    async with Publisher(load_context(os.environ)) as publisher:
        receipt = await publisher.publish(LabelsObserved(model=model, target=target, items=(label,)))
    print(f"{receipt.id} is in {receipt.topic}[{receipt.partition}] at {receipt.offset}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
