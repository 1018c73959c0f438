"""What a serving process is told by its environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from cairn.events.serving import Replica


class Settings(BaseModel):
    """The settings, by the names of the environment's variables."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    installation: str = Field("cairn", alias="CAIRN_INSTALLATION", pattern=r"^[a-z0-9-]{1,63}$")
    bootstrap_servers: str = Field("127.0.0.1:9092", alias="KAFKA_BOOTSTRAP_SERVERS")
    objects: str = Field(alias="CAIRN_OBJECTS")
    key_file: Path = Field(alias="CAIRN_KEY_FILE")
    trust_file: Path = Field(alias="CAIRN_TRUST_FILE")
    host: str = Field("127.0.0.1", alias="CAIRN_HOST")
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(8710, alias="CAIRN_PORT")
    replica: Replica = Field("serving-1", alias="CAIRN_REPLICA")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", alias="LOG_LEVEL")
    log_format: Literal["console", "json"] = Field("json", alias="LOG_FORMAT")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read the environment. Raises ValidationError."""
        return cls.model_validate(dict(environ))
