"""Large objects go in parts, and what was interrupted goes on where it was: only what is missing is sent."""

from typing import Protocol

from cairn.events.values import ObjectRef
from cairn.objects.content import CheckedReader, Progress, Readable
from cairn.objects.errors import ObjectCorrupt

PART_BYTES = 64 * 2**20
"""Size of a part, and of what is sent whole at most; two of them are in memory at a time."""


class Upload(Protocol):
    """An object on its way into a store, begun now or in an earlier attempt."""

    def has(self, number: int, part: bytes) -> bool:
        """Whether exactly these bytes are there already as this part; parts are counted from 1."""
        ...

    def send(self, number: int, part: bytes) -> None:
        """Send a part, in the place of what may be there."""
        ...

    def complete(self) -> None:
        """Make the object of its parts."""
        ...

    def abandon(self) -> None:
        """Throw the parts away."""
        ...


def send_parts(source: Readable, ref: ObjectRef, place: object, upload: Upload, progress: Progress | None) -> None:
    """Send what is missing of an object, and complete it only if all of it is what the reference names.

    `place` names the source in messages. Raises ObjectCorrupt, and then nothing is left of it.
    """
    reader = CheckedReader(source, ref, place)
    try:
        number = 1
        while part := reader.read(PART_BYTES):
            if not upload.has(number, part):
                upload.send(number, part)
            if progress is not None:
                progress(len(part))
            number += 1
    except ObjectCorrupt:
        upload.abandon()
        raise
    upload.complete()
