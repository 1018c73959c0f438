"""Makes the topics of an installation, from the catalogue."""

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from cairn.events.catalogue import TOPICS
from cairn.events.identity import Installation

_CONFIG = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "message.timestamp.type": "LogAppendTime",
}
_ALREADY_THERE = 36


class TopicsRefused(Exception):
    """Kafka would not make a topic; the message says which and why."""


async def create_topics(bootstrap_servers: str, installation: Installation, replicas: int = 1) -> list[str]:
    """Make what is missing; the names of what was made. Raises TopicsRefused and aiokafka's connection errors."""
    wanted = [
        NewTopic(installation.topic(topic.name), topic.partitions, replicas, topic_configs=_CONFIG)
        for topic in TOPICS.values()
    ]
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        response = await admin.create_topics(wanted)
    finally:
        await admin.close()
    made = []
    for name, code, *reason in response.topic_errors:
        if code == 0:
            made.append(name)
        elif code != _ALREADY_THERE:
            raise TopicsRefused(f"Kafka did not make the topic {name}: {for_code(code).__name__} {reason}")
    return made
