"""Signatures over events, and the trust file that says whose count for what.

What is signed (Ed25519, RFC 8032): `cairn-event-v1`, the topic as Kafka knows it, the key, the content type, then
each CloudEvents attribute but `signature` in the order of their names (name, value), then the value bytes; each of
these preceded by its length as 8 bytes, big-endian. The signature is base64url without padding.
"""

import base64
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import Field, ValidationError

from cairn.events.values import Instant, Value, Word

DELEGATE = "delegate"
"""The role of a key whose holder has asked others who they are, and may speak for them."""

_LENGTH = struct.Struct(">Q")


class TrustError(Exception):
    """A key or trust file cannot be used; the message says which and why."""


def signed_bytes(
    topic: str, key: bytes | None, content_type: str, attributes: Iterable[tuple[str, str]], value: bytes
) -> bytes:
    """The exact bytes that a signature covers; `attributes` in any order, `signature` left out."""
    parts = [b"cairn-event-v1", topic.encode(), key or b"", content_type.encode()]
    for name, text in sorted(attributes):
        if name != "signature":
            parts += (name.encode(), text.encode())
    parts.append(value)
    pack = _LENGTH.pack
    return b"".join(piece for part in parts for piece in (pack(len(part)), part))


def encode_base64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_base64(text: str) -> bytes:
    """The bytes of base64url without padding; raises ValueError for anything else."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


@dataclass(frozen=True)
class Signer:
    """A private key under the name by which the trust file knows it."""

    keyid: str
    private_key: Ed25519PrivateKey

    @classmethod
    def generate(cls, keyid: str) -> "Signer":
        """A new key."""
        return cls(keyid, Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> "Signer":
        """Read a key file: one line `keyid:base64url of the 32 private bytes`. Raises TrustError."""
        try:
            keyid, _, secret = path.read_text().strip().partition(":")
            return cls(keyid, Ed25519PrivateKey.from_private_bytes(decode_base64(secret)))
        except FileNotFoundError:
            raise TrustError(f"there is no key file {path}; `cairn up` makes one, or set CAIRN_KEY_FILE") from None
        except (OSError, ValueError) as error:
            raise TrustError(f"the key file {path} cannot be read as `keyid:base64url`: {error}") from None

    def save(self, path: Path) -> None:
        """Write the key file, readable by its owner alone."""
        path.touch(mode=0o600)
        path.write_text(f"{self.keyid}:{encode_base64(self.private_key.private_bytes_raw())}\n")

    @property
    def public_text(self) -> str:
        """The public key, base64url."""
        public = self.private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return encode_base64(public)

    def sign(self, data: bytes) -> str:
        """The signature over these bytes, base64url."""
        return encode_base64(self.private_key.sign(data))


class TrustedKey(Value):
    """A public key and what it may say."""

    keyid: Word
    """The key's name."""
    public_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
    """The Ed25519 public key, base64url."""
    principal: Word
    """Who holds it, e.g. `service/registry` or `person/ada`."""
    roles: tuple[Word, ...] = ()
    """The holder's roles, for approvals."""
    sources: tuple[str, ...]
    """Sources that it may speak for; one that ends in `/*` stands for all below it, `*` for any."""
    topics: tuple[str, ...]
    """Topics that it may write, without prefix."""
    not_before_at: Instant | None = None
    """Signatures count from then on."""
    not_after_at: Instant | None = None
    """Signatures count until then."""

    @cached_property
    def _verifier(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(decode_base64(self.public_key))

    def signed(self, signature: str, data: bytes) -> bool:
        """Whether this key made that signature over these bytes."""
        try:
            self._verifier.verify(decode_base64(signature), data)
        except (InvalidSignature, ValueError):
            return False
        return True

    def vouches_for(self, authtype: str, authid: str) -> bool:
        """Whether this key may name that principal: its own, or any if it has the role `delegate`."""
        return not authid or f"{authtype}/{authid}" == self.principal or DELEGATE in self.roles

    def valid_at(self, instant: datetime) -> bool:
        """Whether the key counts at that time."""
        return (self.not_before_at is None or instant >= self.not_before_at) and (
            self.not_after_at is None or instant < self.not_after_at
        )


UNSIGNED_TOPICS = ("datasets", "labels")
"""Where a trust file may admit what is not signed."""


class UnsignedSource(Value):
    """An upstream system whose unsigned events are admitted."""

    source: str
    """Its source; one that ends in `/*` stands for all below it, `*` for any."""
    topics: tuple[str, ...]
    """Only on these topics; a trust file may name `datasets` and `labels`."""


class Trust(Value):
    """Whose word counts for what: the content of the trust file."""

    keys: tuple[TrustedKey, ...] = ()
    """The known keys."""
    unsigned: tuple[UnsignedSource, ...] = ()
    """The sources admitted without a signature."""

    @classmethod
    def load(cls, path: Path) -> "Trust":
        """Read the trust file (JSON). Raises TrustError."""
        try:
            trust = cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise TrustError(f"there is no trust file {path}; `cairn up` makes one, or set CAIRN_TRUST_FILE") from None
        except (OSError, ValidationError) as error:
            raise TrustError(f"the trust file {path} cannot be used: {error}") from None
        for one in trust.unsigned:
            if closed := set(one.topics).difference(UNSIGNED_TOPICS):
                raise TrustError(
                    f"the trust file {path} admits {one.source} unsigned on {', '.join(sorted(closed))}: everywhere "
                    f"but on {' and '.join(UNSIGNED_TOPICS)} a signature is needed"
                )
        return trust

    def save(self, path: Path) -> None:
        """Write the trust file."""
        path.write_text(self.model_dump_json(indent=2) + "\n")

    @cached_property
    def _by_id(self) -> Mapping[str, TrustedKey]:
        return {key.keyid: key for key in self.keys}

    def key(self, keyid: str) -> TrustedKey | None:
        """The key of that name, if it is known."""
        return self._by_id.get(keyid)

    def admits_unsigned(self, source: str, topic: str) -> bool:
        """Whether this source may speak unsigned on this topic (without prefix)."""
        return any(topic in entry.topics and source_matches(entry.source, source) for entry in self.unsigned)


def source_matches(pattern: str, source: str) -> bool:
    """Whether a source is the named one, or below it where the pattern ends in `/*`."""
    return pattern in ("*", source) or (pattern.endswith("/*") and source.startswith(pattern[:-1]))
