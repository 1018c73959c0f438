"""Real servers as children of this process, without Docker: Apache Kafka and an S3 server, for laptops and tests."""

from cairn.local.doctor import Finding, check
from cairn.local.errors import Missing, StartFailed
from cairn.local.kafka import LocalKafka
from cairn.local.processes import Child
from cairn.local.s3proxy import LocalS3
