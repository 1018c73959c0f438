"""What starts without a Kafka of its own is started sooner."""

from uuid import uuid4

import pytest


@pytest.fixture
def elsewhere(kafka: str) -> dict[str, str]:
    """Has `cairn up` use a Kafka that is there, under a name of its own."""
    return {"KAFKA_BOOTSTRAP_SERVERS": kafka, "CAIRN_INSTALLATION": f"up-{uuid4().hex[:8]}"}
