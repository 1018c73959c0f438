"""Plays the model's callers: asks for predictions, and tells later what turned out to be true."""

import asyncio
from collections.abc import Callable, Sequence

import httpx2

from cairn.broker import BrokerUnreachable
from cairn.context import Context
from cairn.demo.data import TARGET, Sample
from cairn.events import LabelsObserved
from cairn.events.labels import Label
from cairn.events.values import Instant
from cairn.publisher import Publisher

_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.2
_LABELS_AT_ONCE = 50


class NoAnswer(Exception):
    """Serving did not answer for a long time."""


async def serve(
    context: Context,
    model: str,
    samples: Sequence[Sample],
    first: int,
    answered: Callable[[], None],
    pause_seconds: float = 0,
) -> list[str]:
    """Ask for one sample after another, as a caller would that tries again; the ids of the predictions."""
    async with httpx2.AsyncClient(base_url=context.serving(), timeout=10, trust_env=False) as client:
        ids = []
        for number, sample in enumerate(samples, start=first):
            ids.append(await _ask(client, model, sample, f"sample-{number}"))
            answered()
            await asyncio.sleep(pause_seconds)
        return ids


async def _ask(client: httpx2.AsyncClient, model: str, sample: Sample, request_id: str) -> str:
    body = {
        "id": request_id,
        "inputs": [
            {"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in sample.features.items()
        ],
    }
    said = ""
    for _ in range(int(_PATIENCE_SECONDS / _PAUSE_SECONDS)):
        try:
            response = await client.post(f"/v2/models/{model}/infer", json=body)
        except httpx2.HTTPError as error:
            said = repr(error)
        else:
            if response.status_code == 200:
                return _prediction_id(response.json())
            said = response.text
        await asyncio.sleep(_PAUSE_SECONDS)
    raise NoAnswer(f"{model} gave no answer for {_PATIENCE_SECONDS:g} s: {said}")


def _prediction_id(answer: dict[str, list[dict[str, list[str]]]]) -> str:
    (tensor,) = (one for one in answer["outputs"] if str(one["name"]) == "prediction_id")
    return tensor["data"][0]


async def label(
    context: Context, model: str, ids: Sequence[str], samples: Sequence[Sample], observed_at: Instant
) -> None:
    """Tell the true answers, some at a time, in the order in which they were served."""
    items = [
        Label(prediction_id=prediction, value=sample.label, observed_at=observed_at)
        for prediction, sample in zip(ids, samples, strict=True)
    ]
    for start in range(0, len(items), _LABELS_AT_ONCE):
        facts = LabelsObserved(model=model, target=TARGET, items=tuple(items[start : start + _LABELS_AT_ONCE]))
        await _publish(context, facts, f"{ids[start]}-labels")


async def _publish(context: Context, facts: LabelsObserved, event_id: str) -> None:
    for _ in range(int(_PATIENCE_SECONDS)):
        try:
            async with Publisher(context) as publisher:
                await publisher.publish(facts, event_id=event_id)
            return
        except BrokerUnreachable:
            await asyncio.sleep(1)
    raise NoAnswer(f"Kafka did not take labels for {_PATIENCE_SECONDS:g} s")
