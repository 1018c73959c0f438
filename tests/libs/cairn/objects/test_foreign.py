"""What a reference says of the place is only a hint."""

from pathlib import Path

import pytest
from tests.libs.cairn.objects.places import HELLO, Place, ref_to

from cairn.objects import ObjectCorrupt, ObjectMissing, ObjectRefused


@pytest.mark.parametrize("uri", ["file:///old/place", "s3://old-bucket/key", "https://old.example/key", "nonsense", ""])
def test_what_the_store_has_is_had_wherever_the_reference_points(place: Place, uri: str) -> None:
    store = place.open()
    ref = store.put_bytes(HELLO, "text/plain")
    assert store.get(ref.model_copy(update={"uri": uri})).read_bytes() == HELLO


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "file://server/share/x",
        "file:///x?y",
        "file:///tmp/../etc/passwd",
        "file:///tmp/%2e%2e/etc/passwd",
        "file:///tmp/a%00b",
        "s3://other-bucket/key",
        "s3://other-bucket/../key",
        "s3://UPPER/key",
        "s3://",
        "http://169.254.169.254/latest/meta-data/",
        "",
    ],
)
def test_no_other_place_is_read_unless_it_was_allowed(place: Place, uri: str) -> None:
    with pytest.raises(ObjectRefused, match="is not read from"):
        place.open().get(ref_to(uri, HELLO))


def test_a_file_under_an_allowed_root_is_taken_in_verified(place: Place, tmp_path: Path) -> None:
    upstream = tmp_path / "upstream" / "2026"
    upstream.mkdir(parents=True)
    file = upstream / "loans #1.csv"
    file.write_bytes(HELLO)
    store = place.open(allowed_roots=[(tmp_path / "upstream").as_uri()])
    kept = store.get(ref_to(file.as_uri(), HELLO))
    file.write_bytes(b"changed by its owner")
    assert kept.read_bytes() == HELLO
    assert store.get(ref_to(file.as_uri(), HELLO)).read_bytes() == HELLO


def test_a_file_under_an_allowed_root_is_not_believed(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "loans.csv"
    file.write_bytes(HELLO.upper())
    store = place.open(allowed_roots=[str(tmp_path)])
    with pytest.raises(ObjectCorrupt, match=r"loans\.csv does not hold object"):
        store.get(ref_to(file.as_uri(), HELLO))
    with pytest.raises(ObjectMissing, match=r"no file at .*/none\.csv"):
        store.get(ref_to((tmp_path / "none.csv").as_uri(), HELLO))
    with pytest.raises(ObjectMissing):
        store.get(ref_to(tmp_path.as_uri(), HELLO))


def test_no_link_and_no_likeness_leads_out_of_an_allowed_root(place: Place, tmp_path: Path) -> None:
    secret = tmp_path / "allowed-not" / "secret"
    secret.parent.mkdir()
    secret.write_bytes(HELLO)
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link").symlink_to(secret)
    (allowed / "folder").symlink_to(secret.parent)
    store = place.open(allowed_roots=[allowed.as_uri()])
    for path in (secret, allowed / "link", allowed / "folder" / "secret"):
        with pytest.raises(ObjectRefused, match="was not allowed"):
            store.get(ref_to(path.as_uri(), HELLO))
