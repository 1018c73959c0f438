"""Signed notes with Ed25519 (c2sp.org/signed-note) and the checkpoints of a log (c2sp.org/tlog-checkpoint).

A note is a text, an empty line, and one signature a line:

    cairn/registry/0
    1724
    Zr0Q…43 characters of base64, and one `=`…dc=

    — cairn/governance-auditor wT9k…the key's id and its signature…Bg==

What a signature holds in base64 is the key's id, four bytes, and the Ed25519 signature of the text with its last
newline. A checkpoint's text has three lines: origin, size, and the root in base64. The lines of extension that the
format allows are refused: Cairn writes none, and nobody could audit them.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cairn.audit.merkle import HASH_BYTES, LARGEST_SIZE

LARGEST_NOTE = 128 * 1024
"""The most bytes of a note: room for a text and the 16 signatures of nearly 5 kB that the format asks for."""
MOST_SIGNATURES = 64
"""The most signatures of a note."""

_ED25519 = b"\x01"
_KEY_ID_BYTES = 4
_CONTROL_CHARACTER = re.compile(r"[\x00-\x09\x0b-\x1f]")
_CHECKPOINT = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n")


class NoteError(ValueError):
    """A note that cannot be believed."""


class MalformedNoteError(NoteError):
    """The note, or what it should say, is not in the form of one."""


class WrongKeyError(NoteError):
    """Nobody with this name and key has signed the note."""


class BadSignatureError(NoteError):
    """The note bears this key's id, and the key did not sign this text."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: its root at one size."""

    origin: str
    """Which log this is: `<installation>/audit/<topic>/<partition>/<epoch>`."""
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin:
            raise MalformedNoteError("a checkpoint's origin is one line that is not empty")
        if not 0 <= self.size <= LARGEST_SIZE:
            raise MalformedNoteError(f"a checkpoint cannot be of {self.size} leaves")
        if len(self.root) != HASH_BYTES:
            raise MalformedNoteError(f"a root has {HASH_BYTES} bytes, not {len(self.root)}")


class _Signature(NamedTuple):
    name: str
    key_id: bytes
    signature: bytes


def key_id(name: str, public_key: Ed25519PublicKey) -> bytes:
    """The short name of a key: SHA-256(name || 0x0A || 0x01 || public key)[:4]."""
    return sha256(name.encode() + b"\n" + _ED25519 + public_key.public_bytes_raw()).digest()[:_KEY_ID_BYTES]


def sign_note(text: str, name: str, private_key: Ed25519PrivateKey) -> str:
    """The note that says the text, signed with the key under this name."""
    _require_name(name)
    _require_plain(text)
    if not text.endswith("\n"):
        raise MalformedNoteError("a note's text ends with a newline")
    signature = key_id(name, private_key.public_key()) + private_key.sign(text.encode())
    note = f"{text}\n— {name} {_to_base64(signature)}\n"
    _require_plain(note)
    return note


def open_note(note: str, name: str, public_key: Ed25519PublicKey) -> str:
    """The note's text, when the key with this name signed it; signatures by others are left unread.

    Raises MalformedNoteError, WrongKeyError or BadSignatureError: before that nothing in the note may be believed.
    """
    text, signatures = _parse(note)
    wanted = key_id(name, public_key)
    ours = [each.signature for each in signatures if (each.name, each.key_id) == (name, wanted)]
    if not ours:
        raise WrongKeyError(f"none of the note's {len(signatures)} signatures is by {name}+{wanted.hex()}")
    try:
        for signature in ours:
            public_key.verify(signature, text.encode())
    except InvalidSignature as fault:
        raise BadSignatureError(f"{name}+{wanted.hex()} did not sign this text") from fault
    return text


def sign_checkpoint(checkpoint: Checkpoint, name: str, private_key: Ed25519PrivateKey) -> str:
    """The signed note of a checkpoint."""
    return sign_note(f"{checkpoint.origin}\n{checkpoint.size}\n{_to_base64(checkpoint.root)}\n", name, private_key)


def open_checkpoint(note: str, name: str, public_key: Ed25519PublicKey) -> Checkpoint:
    """The checkpoint in a note that the key with this name signed.

    One key may sign for many logs: whoever opens a checkpoint compares its origin with the log it asked about.
    Raises as `open_note` does.
    """
    lines = _CHECKPOINT.fullmatch(open_note(note, name, public_key))
    if not lines:
        raise MalformedNoteError("a checkpoint has three lines: origin, size and root")
    origin, size, root = lines.groups()
    return Checkpoint(origin, int(size), _from_base64(root))


def _parse(note: str) -> tuple[str, list[_Signature]]:
    _require_plain(note)
    text, empty_line, signatures = note.rpartition("\n\n")  # the last one: a text may hold empty lines
    if not empty_line or not signatures.endswith("\n"):
        raise MalformedNoteError("a note is a text, an empty line and lines of signatures")
    lines = signatures[:-1].split("\n")
    if len(lines) > MOST_SIGNATURES:
        raise MalformedNoteError(f"a note has at most {MOST_SIGNATURES} signatures, not {len(lines)}")
    return text + "\n", [_parse_signature(line) for line in lines]


def _parse_signature(line: str) -> _Signature:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != "—":
        raise MalformedNoteError("a line of signature is: em dash, name, signature")
    _require_name(name)
    signature = _from_base64(encoded)
    if len(signature) <= _KEY_ID_BYTES:
        raise MalformedNoteError(f"the signature by {name} is too short")
    return _Signature(name, signature[:_KEY_ID_BYTES], signature[_KEY_ID_BYTES:])


def _require_plain(text: str) -> None:
    try:
        length = len(text.encode())
    except UnicodeEncodeError as fault:
        raise MalformedNoteError("a note is valid UTF-8") from fault
    if length > LARGEST_NOTE:
        raise MalformedNoteError(f"a note has at most {LARGEST_NOTE} bytes, not {length}")
    if _CONTROL_CHARACTER.search(text):
        raise MalformedNoteError("a note has no control characters but newlines")


def _require_name(name: str) -> None:
    if not name or "+" in name or any(map(str.isspace, name)):
        raise MalformedNoteError("a key's name is not empty and has neither spaces nor plus")


def _to_base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _from_base64(encoded: str) -> bytes:
    try:
        octets = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as fault:
        raise MalformedNoteError("a signature and a root are in base64") from fault
    if _to_base64(octets) != encoded:  # unused bits that are set: the same bytes, written another way
        raise MalformedNoteError("base64 has one way to write each byte")
    return octets
