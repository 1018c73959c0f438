"""A real Apache Kafka of one node as a child process, without Docker."""

import asyncio
import base64
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from cairn.local import processes
from cairn.local.classes import ClassArchive
from cairn.local.errors import StartFailed
from cairn.local.jars import Jar, kafka_jars
from cairn.local.java import java_environment
from cairn.local.javaserver import JavaServer
from cairn.local.properties import write_properties
from cairn.local.readiness import LogMark

_PROBE_SECONDS = 5

_FAST_START = "-XX:TieredStopAtLevel=1"


class LocalKafka(JavaServer):
    """Apache Kafka 4.3.1 (KRaft, one node) on 127.0.0.1, with all its data in one directory.

    Started again in the same directory it has the same records and the same address. Nothing protects it:
    it is for this machine alone. A start takes some five seconds, and at first use the time to fetch it (44 MB).
    """

    name = "Kafka"
    log_name = "kafka.log"
    patience_seconds = 120
    grace_seconds = 30

    def __init__(self, directory: Path, port: int = 0, heap_mebibytes: int = 512, *, fast_start: bool = False) -> None:
        """Start nothing yet. Port 0 is a free one, chosen at the first start and kept.

        `fast_start` saves two seconds at every start, and three more after a kill. It costs throughput under load,
        and a broker that gets no processor for 6 s is without leaders for a moment: for tests and demonstrations.
        """
        super().__init__(directory, port, 0)
        self._heap_mebibytes = heap_mebibytes
        self._fast_start = fast_start

    @property
    def bootstrap_servers(self) -> str:
        """Its address, as clients want it. Raises RuntimeError before the first start."""
        return f"127.0.0.1:{self.ports[0]}"

    def jars(self) -> Sequence[Jar]:
        """Kafka's, and what it needs."""
        return kafka_jars()

    async def prepare(self, java: Path, files: Sequence[Path], classes: ClassArchive) -> Sequence[str | Path]:
        """Format its storage at the first start, and write its settings."""
        rest = (*self._options(), "-cp", os.pathsep.join(map(str, files)))
        if not (self.directory / "data").exists():
            await self._format(java, *classes.reading, *rest)
        write_properties(self.directory / "server.properties", {**_settings(self.ports, "data"), **self._sessions()})
        return java, *classes.options, *rest, "kafka.Kafka", "server.properties"

    async def answers(self) -> bool:
        """Whether it knows a broker that is there: itself."""
        from aiokafka.admin import AIOKafkaAdminClient
        from aiokafka.errors import KafkaError

        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await _knock(self.ports[0])  # aiokafka would log an error for every attempt
                await admin.start()
                return bool((await admin.describe_cluster())["brokers"])
        except (OSError, KafkaError):
            return False
        finally:
            await admin.close()

    def _options(self) -> tuple[str, ...]:
        return (
            f"-Xmx{self._heap_mebibytes}m",
            "-XX:+UseSerialGC",
            "-XX:+ExitOnOutOfMemoryError",
            *([_FAST_START] if self._fast_start else []),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
        )

    def _sessions(self) -> dict[str, object]:
        # A killed broker is let in again when its old session has expired; the default is 9 s.
        return {"broker.session.timeout.ms": 6000, "broker.heartbeat.interval.ms": 1000} if self._fast_start else {}

    async def _format(self, *java: str | Path) -> None:
        # Beside its place, then renamed: a directory `data` that exists was formatted to the end.
        new = self.directory / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        file = "format.properties"
        write_properties(self.directory / file, _settings(self.ports, new.name))
        tool = ("kafka.tools.StorageTool", "format", "-t", _new_cluster_id(), "-c", file)
        mark = LogMark.of(self.log)
        child = await processes.start(
            "Kafka's formatting",
            *(java[0], _FAST_START, *java[1:], *tool),
            directory=self.directory,
            environment=java_environment(),
            log=self.log,
        )
        try:
            async with asyncio.timeout(self.patience_seconds):
                exit_code = await child.wait()
        finally:
            await child.kill()
        if exit_code:
            raise StartFailed(f"Kafka's storage cannot be formatted: exit code {exit_code}. {mark.last_lines()}")
        new.rename(self.directory / "data")


async def _knock(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    await writer.wait_closed()


def _new_cluster_id() -> str:
    # 16 bytes in base64. The first is zero because an id that begins with a dash would be read as an option.
    return base64.urlsafe_b64encode(b"\0" + secrets.token_bytes(15)).decode().rstrip("=")


def _settings(ports: tuple[int, ...], data: str) -> dict[str, object]:
    broker, controller = ports
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,  # relative to the working directory: a path with a comma would be two
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 2,
        "share.coordinator.state.topic.replication.factor": 1,
        "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,  # the default is 128 MiB of the heap; little is compacted
        "group.initial.rebalance.delay.ms": 0,
        "offsets.retention.minutes": 2_147_483_647,  # offsets of hand-assigned partitions expire after seven idle days
        "log.retention.ms": -1,
        "log.retention.bytes": -1,
        "log.message.timestamp.type": "LogAppendTime",
    }
