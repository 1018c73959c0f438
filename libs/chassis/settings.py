"""What every service is told by its environment. The only reader of it."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """What the environment says cannot be used; the message names the setting and says what is wrong with it."""


def _check_servers(text: str) -> str:
    for server in text.split(","):
        host, colon, port = server.strip().rpartition(":")
        if not host or not colon or not port.isdecimal():
            raise ValueError(f"{server!r} is not host:port (several are separated by commas)")
    return text


class ServiceSettings(BaseSettings):
    """Settings shared by all services; a secret may also come from a file named by `<NAME>_FILE`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    installation: str = Field("cairn", validation_alias="CAIRN_INSTALLATION", pattern=r"^[a-z0-9-]{1,63}$")
    bootstrap_servers: Annotated[str, AfterValidator(_check_servers)] = Field(
        "127.0.0.1:9092", validation_alias="KAFKA_BOOTSTRAP_SERVERS"
    )
    database_url: SecretStr = Field(validation_alias="DATABASE_URL")
    objects: str = Field(validation_alias="CAIRN_OBJECTS")
    key_file: Path = Field(validation_alias="CAIRN_KEY_FILE")
    trust_file: Path = Field(validation_alias="CAIRN_TRUST_FILE")
    host: str = Field("127.0.0.1", validation_alias="CAIRN_HOST")
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(0, validation_alias="CAIRN_PORT")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", validation_alias="LOG_LEVEL")
    log_format: Literal["console", "json"] = Field("json", validation_alias="LOG_FORMAT")
    failpoints: str = Field("", validation_alias="CAIRN_FAILPOINTS")
    failpoints_spent: Path | None = Field(None, validation_alias="CAIRN_FAILPOINTS_SPENT")
    commit_code: str = Field("unknown", validation_alias="CAIRN_COMMIT")
    session_milliseconds: int = Field(30_000, ge=1000, validation_alias="CAIRN_SESSION_MILLISECONDS")
    lease_seconds: float = Field(15.0, gt=0, validation_alias="CAIRN_LEASE_SECONDS")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], unused: Mapping[str, str] = MappingProxyType({})) -> Self:
        """Read the environment, following `DATABASE_URL_FILE`. Raises SettingsError.

        `unused` stands in for settings that a command does not need.
        """
        given = {name: value for name, value in unused.items() if not environ.get(name)}
        if file := environ.get("DATABASE_URL_FILE"):
            if environ.get("DATABASE_URL"):
                raise SettingsError("DATABASE_URL and DATABASE_URL_FILE are both set: set one of them")
            given["DATABASE_URL"] = read_named_file("DATABASE_URL_FILE", Path(file)).strip()
        try:
            return cls(**given)  # type: ignore[arg-type]  # keys are the settings' names in the environment
        except ValidationError as error:
            raise SettingsError(_explain(error)) from None


def read_named_file(setting: str, path: Path) -> str:
    """The text of a file that a setting names. Raises SettingsError."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError(f"{setting} names {path}, which cannot be read: {why}") from None


def _explain(error: ValidationError) -> str:
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_input=False)]
    return "the environment is not complete or not right: " + "; ".join(faults)
