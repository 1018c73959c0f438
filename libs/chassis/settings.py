"""What every service is told by its environment. The only reader of it."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Settings shared by all services; a secret may also come from a file named by `<NAME>_FILE`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    installation: str = Field("cairn", validation_alias="CAIRN_INSTALLATION", pattern=r"^[a-z0-9-]{1,63}$")
    bootstrap_servers: str = Field("127.0.0.1:9092", validation_alias="KAFKA_BOOTSTRAP_SERVERS")
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
    def from_environment(cls, environ: dict[str, str], **given: Any) -> "ServiceSettings":
        """Read the environment, following `DATABASE_URL_FILE`."""
        secret = environ.get("DATABASE_URL_FILE")
        if secret and "DATABASE_URL" not in environ:
            given["database_url"] = Path(secret).read_text().strip()
        return cls(**given)
