"""Installations for tests: each has a name, topics and keys of its own on the Kafka that tests share."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from cairn.context import Context
from cairn.events import SERVICES, TOPICS, Installation, Signer, Trust, TrustedKey, topics_owned_by

USER_TOPICS = ("requests", "datasets", "labels")


async def new_installation(servers: str, home: Path, *topics: str) -> Context:
    """A fresh installation with these topics, in which Ada speaks; all services' keys are trusted too."""
    installation = Installation(f"test-{secrets.token_hex(6)}")
    await make_topics(servers, installation, topics)
    signer = Signer.generate("ada-1")
    trust = Trust(keys=(_user(signer, installation), *(_service(name, installation) for name in SERVICES)))
    return Context(home, installation, servers, objects_url=str(home / "objects"), signer=signer, trust=trust)


async def make_topics(servers: str, installation: Installation, topics: Sequence[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        wanted = [NewTopic(installation.topic(name), TOPICS[name].partitions, 1) for name in topics]
        await admin.create_topics(wanted)
    finally:
        await admin.close()


def as_service(context: Context, service: str) -> Context:
    """The same installation as the service sees it that speaks there with its own key."""
    assert context.trust
    signer = Signer.generate(service)
    keys = [key for key in context.trust.keys if key.keyid != service]
    key = _service(service, context.installation).model_copy(update={"public_key": signer.public_text})
    return replace(context, signer=signer, trust=Trust(keys=(*keys, key)))


def user_key(signer: Signer, *sources: str, topics: Sequence[str] = USER_TOPICS) -> TrustedKey:
    """Ada's key, as the trust file has it."""
    return TrustedKey(
        keyid=signer.keyid, public_key=signer.public_text, principal="person/ada", sources=sources, topics=tuple(topics)
    )


def _user(signer: Signer, installation: Installation) -> TrustedKey:
    return user_key(signer, installation.source("person", "ada"))


def _service(name: str, installation: Installation) -> TrustedKey:
    return TrustedKey(
        keyid=name,
        public_key=Signer.generate(name).public_text,
        principal=f"service/{name}",
        sources=(installation.source(name),),
        topics=tuple(topic.name for topic in topics_owned_by(name)),
    )


async def write_raw(context: Context, topic: str, value: bytes, key: bytes = b"model/any", partition: int = 0) -> None:
    """Write a record that no publisher of ours would."""
    producer = AIOKafkaProducer(bootstrap_servers=context.bootstrap_servers)
    await producer.start()
    try:
        await producer.send_and_wait(context.installation.topic(topic), value, key=key, partition=partition)
    finally:
        await producer.stop()
