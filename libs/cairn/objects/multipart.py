"""An object on its way into a bucket: a multipart upload of S3, which the server keeps until it is completed."""

import hashlib
from typing import TYPE_CHECKING

from cairn.events.values import ObjectRef
from cairn.objects.places import InBucket

if TYPE_CHECKING:
    from minio import Minio
    from minio.datatypes import Part

_PARTS_A_PAGE = 1000


class MultipartUpload:
    """The parts of an object that the server has so far; an Upload.

    What is begun and never taken up again stays on the server: give the bucket a rule that ends such uploads.
    """

    # The client's public way sends all parts in one go, and forgets an upload that was interrupted: its own steps are
    # used here, which have no public names.

    def __init__(self, client: "Minio", place: InBucket, ref: ObjectRef) -> None:
        """Take up the upload that was begun last, or begin one. Raises what the client raises."""
        self._client, self._place = client, place
        begun = self._begun_last()
        self._id = begun or self._begin(ref.media_type)
        self._there = self._listed() if begun else {}
        self._parts: list[Part] = []

    def has(self, number: int, part: bytes) -> bool:
        """See Upload. A server whose tags are not MD5 gets every part again."""
        found = self._there.get(number)
        digest = hashlib.md5(part, usedforsecurity=False).hexdigest()  # what S3 tags a part with
        if found is None or found.size != len(part) or found.etag.strip('"') != digest:
            return False
        self._parts.append(found)
        return True

    def send(self, number: int, part: bytes) -> None:
        """See Upload."""
        from minio.datatypes import Part

        tag = self._client._upload_part(self._place.bucket, self._place.key, part, None, self._id, number)  # noqa: SLF001 # see above
        self._parts.append(Part(number, tag))

    def complete(self) -> None:
        """See Upload."""
        self._client._complete_multipart_upload(self._place.bucket, self._place.key, self._id, self._parts)  # noqa: SLF001 # see above

    def abandon(self) -> None:
        """See Upload."""
        self._client._abort_multipart_upload(self._place.bucket, self._place.key, self._id)  # noqa: SLF001 # see above

    def _begin(self, media_type: str) -> str:
        headers: dict[str, str | list[str] | tuple[str]] = {"Content-Type": media_type}
        return self._client._create_multipart_upload(self._place.bucket, self._place.key, headers)  # noqa: SLF001 # see above

    def _begun_last(self) -> str | None:
        found = self._client._list_multipart_uploads(self._place.bucket, prefix=self._place.key)  # noqa: SLF001 # see above
        same = [upload for upload in found.uploads if upload.object_name == self._place.key]
        return max(same, key=lambda upload: str(upload.initiated_time)).upload_id if same else None

    def _listed(self) -> "dict[int, Part]":
        there: dict[int, Part] = {}
        marker: str | None = None
        while True:
            page = self._client._list_parts(  # noqa: SLF001 # see above
                self._place.bucket, self._place.key, self._id, max_parts=_PARTS_A_PAGE, part_number_marker=marker
            )
            there |= {part.part_number: part for part in page.parts}
            if not page.is_truncated:
                return there
            marker = str(page.next_part_number_marker)
