from pathlib import Path

import pytest
from tests.conftest import S3Server
from tests.libs.cairn.objects.places import Place, bucket_place, directory_place

from cairn.objects import S3Settings


@pytest.fixture(params=["directory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "directory":
        return directory_place(tmp_path / "store")
    settings: S3Settings = request.getfixturevalue("bucket_settings")
    return bucket_place(settings, tmp_path / "cache")


@pytest.fixture
def bucket_settings(s3: S3Server) -> S3Settings:
    return S3Settings(endpoint=s3.endpoint, access_key=s3.access_key, secret_key=s3.secret_key)
