"""Real servers for every test that asks, each started once a session. A test fails where they cannot be had."""

import os
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio

from cairn.local import LocalKafka, LocalS3


class S3Server(NamedTuple):
    """How to reach an S3 server."""

    endpoint: str
    access_key: str
    secret_key: str


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Bootstrap servers of the Kafka that `KAFKA_BOOTSTRAP_SERVERS` names, or of one started here.

    Tests share it: each makes topics and groups of its own.
    """
    if servers := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield servers
        return
    async with LocalKafka(tmp_path_factory.mktemp("kafka"), fast_start=True) as server:
        yield server.bootstrap_servers


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def s3(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3Server]:
    """The S3 server that `AWS_ENDPOINT_URL_S3` and the keys beside it name, or one started here.

    Tests share it: each makes buckets of its own.
    """
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3"):
        yield S3Server(endpoint, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        return
    access_key, secret_key = "tests", "only for tests = not a secret"
    async with LocalS3(tmp_path_factory.mktemp("s3"), access_key, secret_key) as server:
        yield S3Server(server.endpoint, access_key, secret_key)
