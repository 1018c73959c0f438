"""Where a running Cairn is and who speaks to it: from the environment, and from what `cairn up` left in its home."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError

from cairn.events.catalogue import ALL_SERVICES
from cairn.events.identity import Installation
from cairn.events.signing import Signer, Trust
from cairn.events.values import Value, Word
from cairn.holding import is_held

UP_FILE = "up.json"
"""In the home: written by `cairn up` once everything is ready, removed when it ends."""
KEY_FILE = "keys/user.key"
TRUST_FILE = "trust.json"

_INSTALLATION = re.compile(r"[a-z0-9-]{1,63}")
_SERVER = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:,\[\]]+):[0-9]{1,5}")


class ContextError(Exception):
    """What is set cannot be used; the message names the setting and the cure."""


class NotRunning(ContextError):
    """No Cairn is known: nothing is set, and none runs from this home."""


class Running(Value):
    """What `cairn up` writes into its home for those who want to use it."""

    installation: Word
    """The installation's name."""
    bootstrap_servers: Word
    """Kafka's addresses, `host:port` joined by commas."""
    objects: str
    """URL of the object store."""
    services: dict[str, str] = Field(default_factory=dict)
    """Base URL of each service's read API."""
    serving: str = ""
    """Base URL of the serving processes."""
    given_up: dict[str, str] = Field(default_factory=dict)
    """What is not started again, each with the reason."""

    @classmethod
    def load(cls, home: Path) -> Self | None:
        """What the home says, None where it says nothing. Raises ContextError for a file that cannot be read."""
        path = home / UP_FILE
        try:
            return cls.model_validate_json(path.read_bytes(), extra="ignore")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValidationError) as error:
            fault = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
            raise ContextError(f"{path} cannot be used ({fault}); remove it and start `cairn up` again") from None

    def save(self, home: Path) -> None:
        """Write the file, whole or not at all. Only for who holds the home."""
        part = home / f".{UP_FILE}.new"
        part.write_text(self.model_dump_json(indent=2) + "\n")
        part.replace(home / UP_FILE)


@dataclass(frozen=True)
class Context:
    """One running Cairn as a user reaches it."""

    home: Path
    installation: Installation
    bootstrap_servers: str
    objects_url: str = ""
    """Empty where it is not known, as the other addresses."""
    signer: Signer | None = None
    trust: Trust | None = None
    services: dict[str, str] = field(default_factory=dict)
    """Base URL of each service's read API."""
    serving_url: str = ""
    given_up: dict[str, str] = field(default_factory=dict)
    """What `cairn up` does not start again, each with the reason."""

    def service_url(self, service: str) -> str:
        """The base URL of a service's read API. Raises ContextError where it is not known."""
        return _known(self.services.get(service, ""), f"the {service}", url_setting(service))

    def serving(self) -> str:
        """The base URL of the serving processes. Raises ContextError where it is not known."""
        return _known(self.serving_url, "the serving processes", url_setting("serving"))

    def objects(self) -> str:
        """The URL of the object store. Raises ContextError where it is not known."""
        return _known(self.objects_url, "the object store", "CAIRN_OBJECTS")


def url_setting(service: str) -> str:
    """The environment variable that names the base URL of a service, or of `serving`."""
    return f"CAIRN_{service.upper().replace('-', '_')}_URL"


def load_context(environ: Mapping[str, str], home: Path | None = None) -> Context:
    """The Cairn that an environment names; what it does not name is taken from the home's `up.json`.

    `CAIRN_HOME` (`./.cairn` unless set), `CAIRN_INSTALLATION`, `KAFKA_BOOTSTRAP_SERVERS`, `CAIRN_OBJECTS`,
    `CAIRN_KEY_FILE`, `CAIRN_TRUST_FILE`, and `CAIRN_<SERVICE>_URL` for each service and for `serving`.
    Raises NotRunning, ContextError, TrustError for a key or trust file that cannot be used, OSError for such a home.
    """
    home = (home or Path(environ.get("CAIRN_HOME") or ".cairn")).absolute()
    held = is_held(home)
    running = Running.load(home) if held else None
    servers = environ.get("KAFKA_BOOTSTRAP_SERVERS") or (running.bootstrap_servers if running else "")
    if not servers:
        raise _not_running(home, held=held)
    return Context(
        home=home,
        installation=read_installation(
            environ.get("CAIRN_INSTALLATION") or (running.installation if running else "cairn")
        ),
        bootstrap_servers=check_servers(servers),
        objects_url=environ.get("CAIRN_OBJECTS") or (running.objects if running else ""),
        signer=_signer(environ.get("CAIRN_KEY_FILE"), home / KEY_FILE),
        trust=_trust(environ.get("CAIRN_TRUST_FILE"), home / TRUST_FILE),
        services=_services(environ, running),
        serving_url=_checked_url(environ, "serving") or (running.serving.rstrip("/") if running else ""),
        given_up=running.given_up if running else {},
    )


def _not_running(home: Path, *, held: bool) -> NotRunning:
    if held:
        return NotRunning(f"the Cairn of {home} starts or stops just now: wait until `cairn up` says that it is up")
    found = f"the Cairn of {home} was killed" if (home / UP_FILE).exists() else f"no Cairn runs from {home}"
    return NotRunning(f"{found}: start one with `cairn up`, or set KAFKA_BOOTSTRAP_SERVERS to one that runs elsewhere")


def _known(url: str, what: str, setting: str) -> str:
    if not url:
        raise ContextError(f"it is not known where {what} can be reached: set {setting}, or start `cairn up`")
    return url


def read_installation(name: str) -> Installation:
    """The installation of this name. Raises ContextError for what cannot be one."""
    if _INSTALLATION.fullmatch(name) is None:
        raise ContextError(f"CAIRN_INSTALLATION is {name!r}: expected up to 63 of a-z, 0-9 and '-'")
    return Installation(name)


def check_servers(servers: str) -> str:
    """These addresses of Kafka, as they are. Raises ContextError for what cannot be any."""
    if any(_SERVER.fullmatch(server.strip()) is None for server in servers.split(",")):
        raise ContextError(f"KAFKA_BOOTSTRAP_SERVERS is {servers!r}: expected host:port, joined by commas")
    return servers


def _signer(named: str | None, usual: Path) -> Signer | None:
    if named:
        return Signer.load(Path(named))
    return Signer.load(usual) if usual.exists() else None


def _trust(named: str | None, usual: Path) -> Trust | None:
    if named:
        return Trust.load(Path(named))
    return Trust.load(usual) if usual.exists() else None


def _services(environ: Mapping[str, str], running: Running | None) -> dict[str, str]:
    urls = {name: url.rstrip("/") for name, url in running.services.items()} if running else {}
    return urls | {name: url for name in ALL_SERVICES if (url := _checked_url(environ, name))}


def _checked_url(environ: Mapping[str, str], service: str) -> str:
    url = environ.get(url_setting(service), "").rstrip("/")
    if url and not url.startswith(("http://", "https://")):
        raise ContextError(f"{url_setting(service)} is {url!r}: expected http://host:port")
    return url
