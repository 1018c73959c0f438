"""A real S3 server as a child process, without Docker."""

from collections.abc import Sequence
from pathlib import Path

from cairn.local.classes import ClassArchive
from cairn.local.jars import S3PROXY, Jar
from cairn.local.javaserver import JavaServer
from cairn.local.properties import write_properties

_PROBE_SECONDS = 5


class LocalS3(JavaServer):
    """S3Proxy 4.1.0 on 127.0.0.1, with its objects as files in one directory.

    Checks signatures and checksums; has no versioning, tags or object lock. A key cannot also be the folder of
    another (`a` and `a/b`), and no part of a key is longer than 255 bytes. A start takes about a second, and at
    first use the time to fetch it (55 MB).
    """

    name = "The S3 server"
    log_name = "s3proxy.log"
    patience_seconds = 60
    grace_seconds = 10

    def __init__(
        self, directory: Path, access_key: str, secret_key: str, port: int = 0, heap_mebibytes: int = 768
    ) -> None:
        """Start nothing yet. Port 0 is a free one, chosen at the first start and kept.

        With a heap of 192 MiB an upload of 256 MiB in parts fails.
        """
        super().__init__(directory, port)
        self._access_key = access_key
        self._secret_key = secret_key
        self._heap_mebibytes = heap_mebibytes

    @property
    def endpoint(self) -> str:
        """Its address, as clients want it. Raises RuntimeError before the first start."""
        return f"http://127.0.0.1:{self.ports[0]}"

    def jars(self) -> Sequence[Jar]:
        """One, with all that it needs inside."""
        return [S3PROXY]

    async def prepare(self, java: Path, files: Sequence[Path], classes: ClassArchive) -> Sequence[str | Path]:
        """Make the folder of its objects, and write its settings."""
        (self.directory / "objects").mkdir(exist_ok=True)
        write_properties(self.directory / "s3proxy.properties", self._settings())
        options = (*classes.options, f"-Xmx{self._heap_mebibytes}m")
        return java, *options, "-jar", *files, "--properties", "s3proxy.properties"

    async def answers(self) -> bool:
        """Whether it answers at all: unsigned, a refusal is an answer."""
        import httpx2

        try:
            async with httpx2.AsyncClient(trust_env=False, timeout=_PROBE_SECONDS) as client:
                return (await client.get(self.endpoint)).status_code < 500
        except httpx2.TransportError:
            return False

    def _settings(self) -> dict[str, object]:
        return {
            "s3proxy.endpoint": self.endpoint,
            "s3proxy.authorization": "aws-v2-or-v4",
            "s3proxy.identity": self._access_key,
            "s3proxy.credential": self._secret_key,
            "jclouds.provider": "filesystem-nio2",
            "jclouds.filesystem.basedir": str(self.directory / "objects"),
        }
