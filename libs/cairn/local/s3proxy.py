"""A real S3 server as a child process, without Docker."""

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from cairn.local import jars
from cairn.local.java import find_java, java_environment
from cairn.local.ports import kept_ports, refuse_taken_ports
from cairn.local.processes import Child
from cairn.local.properties import write_properties
from cairn.local.readiness import start_ready

_PATIENCE_SECONDS = 60
_GRACE_SECONDS = 10
_PROBE_SECONDS = 5


class LocalS3:
    """S3Proxy 4.1.0 on 127.0.0.1, with its objects as files in one directory.

    Checks signatures and checksums; has no versioning, tags or object lock. A key cannot also be the folder of
    another (`a` and `a/b`), and no part of a key is longer than 255 bytes.
    """

    def __init__(
        self, directory: Path, access_key: str, secret_key: str, port: int = 0, heap_mebibytes: int = 768
    ) -> None:
        """Start nothing yet. Port 0 is a free one, chosen at the first start and kept.

        With a heap of 192 MiB an upload of 256 MiB in parts fails.
        """
        self._directory = directory.absolute()
        self._access_key = access_key
        self._secret_key = secret_key
        self._wanted_port = port
        self._heap_mebibytes = heap_mebibytes
        self._ports: tuple[int, ...] = ()
        self._child: Child | None = None

    @property
    def endpoint(self) -> str:
        """Its address, as clients want it. Raises RuntimeError before the first start."""
        if not self._ports:
            raise RuntimeError("The S3 server has no address before its first start: await start() first")
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def log(self) -> Path:
        """The file that its own log goes to."""
        return self._directory / "s3proxy.log"

    async def start(self) -> None:
        """Start it and return when it serves: about a second, and at first use the time to fetch it (55 MB).

        Raises Missing without Java or its jar, StartFailed with the last lines of its log, RuntimeError while it runs.
        """
        if self._child is not None and self._child.exit_code is None:
            raise RuntimeError(f"The S3 server runs already, at {self.endpoint}")
        java = (await asyncio.to_thread(find_java)).path
        (jar,) = await asyncio.to_thread(jars.fetch, [jars.S3PROXY], jars.jar_cache())
        (self._directory / "objects").mkdir(parents=True, exist_ok=True)
        self._ports = kept_ports(self._directory / "ports.json", self._wanted_port)
        refuse_taken_ports("The S3 server", self._ports)
        write_properties(self._directory / "s3proxy.properties", self._settings())
        self._child = await start_ready(
            "The S3 server",
            java,
            f"-Xmx{self._heap_mebibytes}m",
            "-jar",
            jar,
            "--properties",
            "s3proxy.properties",
            directory=self._directory,
            environment=java_environment(),
            log=self.log,
            answers=self._answers,
            patience_seconds=_PATIENCE_SECONDS,
        )

    async def stop(self) -> None:
        """Stop it in order. Does nothing when it does not run."""
        if self._child is not None:
            await self._child.terminate(_GRACE_SECONDS)

    async def kill(self) -> None:
        """Kill it without a warning (SIGKILL), for tests. Does nothing when it does not run."""
        if self._child is not None:
            await self._child.kill()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _settings(self) -> dict[str, object]:
        return {
            "s3proxy.endpoint": self.endpoint,
            "s3proxy.authorization": "aws-v2-or-v4",
            "s3proxy.identity": self._access_key,
            "s3proxy.credential": self._secret_key,
            "jclouds.provider": "filesystem-nio2",
            "jclouds.filesystem.basedir": str(self._directory / "objects"),
        }

    async def _answers(self) -> bool:
        import httpx2

        try:
            async with httpx2.AsyncClient(trust_env=False, timeout=_PROBE_SECONDS) as client:
                return (await client.get(self.endpoint)).status_code < 500  # unsigned: a refusal is an answer
        except httpx2.TransportError:
            return False
