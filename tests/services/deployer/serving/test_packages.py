import json

import pytest
from tests.services.deployer.made import digest
from tests.services.deployer.serving.plane import SCHEMA, arm_of

from cairn.objects import open_store
from deployer.serving.packages import PackageUnusable, fetch_package

MODEL = b"the model"
DIGEST, SIZE = digest("the model"), len(MODEL)


@pytest.fixture
def objects(tmp_path):
    return open_store(str(tmp_path / "objects"))


def packed(objects, *, named=DIGEST, size=SIZE, manifest=None):
    """An arm whose package is in the store."""
    objects.put_bytes(MODEL, "application/octet-stream")
    content = {
        "io_schema": SCHEMA.model_dump(mode="json"),
        "forms": [{"name": "skops", "file": "model.skops", "digest": named}],
        "files": {"model.skops": {"digest": named, "bytes": size, "media_type": "application/octet-stream"}},
    }
    ref = objects.put_bytes(json.dumps(content if manifest is None else manifest).encode(), "application/json")
    arm = arm_of(1)
    return arm.model_copy(update={"package": ref, "model": arm.model.model_copy(update={"digest": ref.digest})})


def test_a_package_is_fetched_by_the_digests_of_its_manifest(objects):
    package = fetch_package(objects, packed(objects))
    assert package.io_schema == SCHEMA
    assert {name: path.read_bytes() for name, path in package.files.items()} == {"model.skops": MODEL}


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("object-missing", {"named": digest("another model")}),
        ("package-unreadable", {"size": 3}),
        ("bad-manifest", {"manifest": {}}),
        ("bad-manifest", {"manifest": []}),
        ("no-form", {"manifest": {"io_schema": {"inputs": [], "outputs": []}, "forms": [], "files": {}}}),
    ],
)
def test_a_package_that_is_not_whole_is_unusable(objects, code, change):
    with pytest.raises(PackageUnusable) as unusable:
        fetch_package(objects, packed(objects, **change))
    assert unusable.value.code == code


def test_a_manifest_that_is_not_there_is_unusable(objects):
    with pytest.raises(PackageUnusable) as unusable:
        fetch_package(objects, arm_of(1))
    assert unusable.value.code == "package-unreadable"


def test_another_package_than_the_versions_is_unusable(objects):
    arm = packed(objects)
    with pytest.raises(PackageUnusable) as unusable:
        fetch_package(objects, arm.model_copy(update={"model": arm_of(2).model}))
    assert unusable.value.code == "other-package"
