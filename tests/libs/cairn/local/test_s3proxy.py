import io
from pathlib import Path

import pytest
from minio import Minio
from minio.error import S3Error

from cairn.local import LocalS3

ACCESS_KEY, SECRET_KEY = "tests", "a\\b = #! c"


def client(server: LocalS3, secret_key: str = SECRET_KEY) -> Minio:
    return Minio(server.endpoint.removeprefix("http://"), ACCESS_KEY, secret_key, secure=False, region="us-east-1")


async def test_a_restarted_server_keeps_its_objects_and_its_address(tmp_path: Path) -> None:
    async with LocalS3(tmp_path / "Käse, 漢字", ACCESS_KEY, SECRET_KEY) as server:
        address = server.endpoint
        client(server).make_bucket("trail")
        client(server).put_object("trail", "a/stone", io.BytesIO(b"a stone"), 7)
    async with LocalS3(tmp_path / "Käse, 漢字", ACCESS_KEY, SECRET_KEY) as server:
        assert server.endpoint == address
        assert client(server).get_object("trail", "a/stone").read() == b"a stone"


async def test_a_killed_server_comes_back_with_its_objects(tmp_path: Path) -> None:
    server = LocalS3(tmp_path, ACCESS_KEY, SECRET_KEY)
    await server.start()
    client(server).make_bucket("trail")
    client(server).put_object("trail", "stone", io.BytesIO(b"a stone"), 7)
    await server.kill()
    async with server:
        assert client(server).get_object("trail", "stone").read() == b"a stone"


async def test_a_wrong_secret_is_refused(tmp_path: Path) -> None:
    async with LocalS3(tmp_path, ACCESS_KEY, SECRET_KEY) as server:
        with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
            client(server, "not the secret").make_bucket("trail")


def test_a_server_has_no_address_before_its_first_start(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no address before"):
        _ = LocalS3(tmp_path, ACCESS_KEY, SECRET_KEY).endpoint
    assert not list(tmp_path.iterdir())
