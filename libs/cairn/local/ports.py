"""Ports that a server keeps for life, so that it comes back at the address that its clients know."""

import json
import secrets
import socket
from pathlib import Path

from cairn.local.errors import StartFailed

# Below the range that systems give to outgoing connections (from 32768 on Linux): a client that tries and tries to
# reach a stopped server at such a port can be given that very port as its own, connect to itself, and keep it.
_RANGE = range(20_000, 30_000)


def kept_ports(file: Path, *wanted: int) -> tuple[int, ...]:
    """One port of 127.0.0.1 for each wanted: that one, or for 0 the one kept in `file`, or else a free one.

    Keeps the result in `file`. Raises OSError when the file cannot be written.
    """
    kept = json.loads(file.read_text()) if file.exists() else []
    kept += [0] * (len(wanted) - len(kept))  # a later version may want more
    ports = [port or old for port, old in zip(wanted, kept, strict=True)]
    for index, port in enumerate(ports):
        ports[index] = port or _free_port(avoided=ports)
    if ports != kept:
        new = file.with_name(file.name + ".new")
        new.write_text(json.dumps(ports))
        new.replace(file)
    return tuple(ports)


def refuse_taken_ports(name: str, ports: tuple[int, ...]) -> None:
    """Raises StartFailed when another program listens at one of these ports."""
    for port in ports:
        if not is_free(port):
            raise StartFailed(
                f"{name} cannot listen at 127.0.0.1:{port}: another program does, perhaps this very server, started "
                "before. Stop that program, or give the server another port."
            )


def is_free(port: int) -> bool:
    """Whether a server can listen at this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does: closed connections do not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port(avoided: list[int]) -> int:
    while True:
        port = secrets.choice(_RANGE)
        if port not in avoided and is_free(port):
            return port
