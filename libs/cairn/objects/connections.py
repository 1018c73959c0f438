"""Connections to an S3 server that give up when hardly anything moves any more, however long the whole takes.

urllib3 sends under the timeout that is for connecting, and a socket's timeout is for all that one call sends: by itself
it would give up a large part that is not gone within seconds.
"""

from typing import Any

from urllib3 import PoolManager, Retry, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

CONNECT_SECONDS = 5
STILL_SECONDS = 60
"""So long may it take to send a piece, or to wait for something."""
_PIECE_BYTES = 64 * 1024


def open_pools() -> PoolManager:
    """Connections to any server, tried again a few times because callers try again too; they follow no redirects."""
    retries = Retry(total=2, redirect=False, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504))
    timeout = Timeout(connect=CONNECT_SECONDS, read=STILL_SECONDS)
    pools = PoolManager(timeout=timeout, retries=retries, maxsize=10, cert_reqs="CERT_REQUIRED")
    pools.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    return pools


class _InPieces(HTTPConnection):
    def send(self, data: Any) -> None:
        """Send some bytes. Raises TimeoutError where a piece is not taken in time."""
        if self.sock is None:
            self.connect()
        self.sock.settimeout(STILL_SECONDS)
        whole = memoryview(data)
        for start in range(0, len(whole), _PIECE_BYTES):
            super().send(whole[start : start + _PIECE_BYTES])


class _SecureInPieces(_InPieces, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _InPieces


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureInPieces
