"""Makes the keys of an installation on one machine, and the trust file that says whose word counts for what."""

from collections.abc import Iterable
from pathlib import Path

from cairn.events.catalogue import GATEWAY, SERVICES, topics_owned_by
from cairn.events.identity import Installation
from cairn.events.signing import DELEGATE, UNSIGNED_TOPICS, Signer, Trust, TrustedKey, UnsignedSource

_FOR_OUTSIDERS = (*UNSIGNED_TOPICS, "requests")


def ensure_keys(
    folder: Path,
    file: Path,
    installation: Installation,
    person: str,
    *,
    admitted: Iterable[str] = (),
    gateway: bool = False,
) -> Trust:
    """Make what is missing of `<folder>/*.key` and the trust file; what is there stays. Raises TrustError.

    The unsigned events of the `admitted` sources count from now on. The gateway's key may speak for others, so it is
    made only where a gateway is wanted; it may be added later.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = Trust.load(file) if file.exists() else _first_trust(folder, installation, person)
    missing = [source for source in admitted if not all(known.admits_unsigned(source, one) for one in UNSIGNED_TOPICS)]
    unsigned = tuple(UnsignedSource(source=source, topics=UNSIGNED_TOPICS) for source in missing)
    wanted = (_gateway_key(folder, installation),) if gateway and known.key(GATEWAY) is None else ()
    trust = Trust(keys=(*known.keys, *wanted), unsigned=(*known.unsigned, *unsigned))
    if trust != known or not file.exists():
        trust.save(file)
    return trust


def _first_trust(folder: Path, installation: Installation, person: str) -> Trust:
    keys = [_service_key(folder, name, installation) for name in (*SERVICES, "serving")]
    return Trust(keys=(*keys, _user_key(folder, person)))


def _gateway_key(folder: Path, installation: Installation) -> TrustedKey:
    """It tells what outsiders bring, in their name: it has asked them who they are."""
    key = _service_key(folder, GATEWAY, installation)
    return key.model_copy(
        update={"roles": (DELEGATE,), "sources": ("*",), "topics": (*key.topics, *UNSIGNED_TOPICS)},
    )


def _service_key(folder: Path, name: str, installation: Installation) -> TrustedKey:
    source = installation.source(name)
    return TrustedKey(
        keyid=name,
        public_key=_make(folder, name).public_text,
        principal=f"service/{name}",
        sources=(source, f"{source}/*"),
        topics=tuple(topic.name for topic in topics_owned_by(name)),
    )


def _user_key(folder: Path, person: str) -> TrustedKey:
    return TrustedKey(
        keyid="user",
        public_key=_make(folder, "user").public_text,
        principal=f"person/{person}",
        roles=("owner",),
        sources=("*",),
        topics=_FOR_OUTSIDERS,
    )


def _make(folder: Path, name: str) -> Signer:
    path = folder / f"{name}.key"
    if path.exists():
        return Signer.load(path)
    signer = Signer.generate(name)
    signer.save(path)
    return signer
