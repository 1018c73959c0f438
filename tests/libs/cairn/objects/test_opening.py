import subprocess
import sys
from pathlib import Path

import pytest
from tests.libs.cairn.objects.places import HELLO, KEY_OF_HELLO, OF_HELLO

from cairn.objects import S3Settings, open_store, read_s3_settings


@pytest.mark.parametrize(
    "url", ["", "http://host/x", "S3://bucket", "file:relative", "file://host/x", "s3://", "s3://a/../b", "s3://a//b"]
)
def test_what_is_no_place_is_not_opened(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected|may not"):
        open_store(url, s3=S3Settings(access_key="a", secret_key="b"))


def test_a_plain_path_is_a_directory(tmp_path: Path) -> None:
    ref = open_store(str(tmp_path / "a b")).put_bytes(HELLO, "text/plain")
    assert ref.uri == f"{tmp_path.as_uri()}/a%20b/{KEY_OF_HELLO}"
    assert open_store((tmp_path / "a b").as_uri()).exists(OF_HELLO)


def test_a_bucket_is_not_opened_without_credentials() -> None:
    with pytest.raises(ValueError, match=r"AWS_ACCESS_KEY_ID .* is not set"):
        open_store("s3://bucket")
    with pytest.raises(ValueError, match=r"AWS_SECRET_ACCESS_KEY .* is not set"):
        open_store("s3://bucket", s3=S3Settings(access_key="a"))


@pytest.mark.parametrize(
    "endpoint", ["", "host:9000", "ftp://host", "http://", "http://host:0", "http://host:99999", "http://me:pw@host"]
)
def test_an_endpoint_is_an_address(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"^AWS_ENDPOINT_URL_S3 is not an address") as refused:
        open_store("s3://bucket", s3=S3Settings(endpoint=endpoint, access_key="a", secret_key="b"))
    assert "pw" not in str(refused.value)


def test_the_settings_come_from_the_names_that_every_s3_tool_knows(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    settings = read_s3_settings(
        {
            "AWS_ENDPOINT_URL": "http://all:1",
            "AWS_ENDPOINT_URL_S3": "http://s3:2",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY_FILE": str(tmp_path / "secret"),
        }
    )
    assert settings == S3Settings("http://s3:2", "eu-central-1", "key", "from a file")
    assert "from a file" not in repr(settings)
    assert read_s3_settings({}) == S3Settings()


def test_a_secret_is_said_once_and_its_file_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="AWS_SECRET_ACCESS_KEY and AWS_SECRET_ACCESS_KEY_FILE are both set"):
        read_s3_settings({"AWS_SECRET_ACCESS_KEY": "a", "AWS_SECRET_ACCESS_KEY_FILE": "b"})
    with pytest.raises(ValueError, match=r"AWS_SESSION_TOKEN_FILE names .*none"):
        read_s3_settings({"AWS_SESSION_TOKEN_FILE": str(tmp_path / "none")})


def test_a_store_in_a_directory_needs_no_s3_client() -> None:
    program = "import sys, cairn.objects.directory; sys.exit(bool({'minio', 'urllib3'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", program], check=True)
