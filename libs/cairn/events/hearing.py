"""Who hears what: the topics that each service and the serving processes read.

What is told, and by whom, is the catalogue's matter. Nobody hears its own topics: what a service told, it knows.
"""

from cairn.events.catalogue import GATEWAY, TOPICS

AUDITOR = "governance-auditor"

HEARD: dict[str, tuple[str, ...]] = {
    "registry": ("requests", "training", "validation", "governance", "deployment"),
    "trainer": ("registry", "validation", "monitoring", "requests"),
    "validator": ("datasets", "monitoring", "registry", "requests"),
    "deployer": ("governance", "monitoring", "registry", "requests", "serving"),
    "monitor": ("predictions", "labels", "deployment", "registry", "requests"),
    AUDITOR: tuple(topic.name for topic in TOPICS.values() if topic.owner != AUDITOR),
    "serving": ("deployment",),
    GATEWAY: tuple(topic.name for topic in TOPICS.values() if topic.owner != GATEWAY),
}
"""The topics that each reader hears, without the installation's prefix. The gateway hears, besides `requests`, those
of the types that its webhooks want."""


def hearers_of(topic: str) -> tuple[str, ...]:
    """Who hears a topic."""
    return tuple(hearer for hearer, topics in HEARD.items() if topic in topics)
