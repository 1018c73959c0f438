"""A FastStream application that knows nothing of Cairn but the schema of `model.promoted`.

`KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 python examples/faststream_plain/app.py`

What it does by itself, because no library does it here: it leaves other types alone, checks the payload, and drops
what is not newer than what it knows. It checks no signature, and forgets with its process what it has seen.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage
from jsonschema import Draft202012Validator, ValidationError

TYPE = "cairn.model.promoted.v1"
SCHEMA = Path(__file__).parents[2] / "schemas/json" / f"{TYPE}.json"
TOPIC = os.environ.get("CAIRN_INSTALLATION", "cairn") + ".registry"


async def as_it_came(message: KafkaMessage) -> bytes:
    """The bytes of a record. Else FastStream reads JSON before the handler runs, and comes back to what is none."""
    return message.body


def for_readers(part: dict[str, Any]) -> dict[str, Any]:
    """The schema is as strict as writers must be: a reader lets pass what newer ones have added."""
    return {name: value for name, value in part.items() if name != "additionalProperties"}


validator = Draft202012Validator(json.loads(SCHEMA.read_text(), object_hook=for_readers))
generations: dict[str, int] = {}

broker = KafkaBroker(os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092"))
app = FastStream(broker)
registry = broker.subscriber(
    TOPIC,
    group_id="plain-application",
    auto_offset_reset="earliest",  # what came before the first start counts too
    ack_policy=AckPolicy.NACK_ON_ERROR,  # the default commits before the handler has run
    no_reply=True,
    decoder=as_it_came,
)


@registry(filter=lambda message: message.headers.get("ce_type") == TYPE)
async def use(body: bytes, message: KafkaMessage) -> None:
    """Act on a promotion."""
    try:
        promotion = json.loads(body)
        validator.validate(promotion)
    except ValidationError as error:
        skip(message, f"{error.json_path} {error.message}")
        return
    except (ValueError, RecursionError) as error:
        skip(message, f"it is no JSON: {error}")
        return
    model, generation = promotion["model"], promotion["generation"]
    if generation <= generations.get(model["name"], 0):
        return
    generations[model["name"]] = generation
    print(f"{model['name']} version {model['version']} is live: {promotion['endpoint']}", flush=True)


def skip(message: KafkaMessage, why: str) -> None:
    """Say that an event is left out: to fail would bring it back for ever, and what comes behind it never."""
    print(f"skipped {message.headers.get('ce_id')}: {why}", flush=True)


@registry
async def leave(_: KafkaMessage) -> None:
    """Other types are of no interest."""


if __name__ == "__main__":
    asyncio.run(app.run())
