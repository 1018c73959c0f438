"""The gateway's own settings."""

from pathlib import Path

from pydantic import Field

from chassis import ServiceSettings


class Settings(ServiceSettings):
    """What the gateway is told by its environment; its secrets are named by its file (see the README)."""

    file: Path | None = Field(None, validation_alias="CAIRN_GATEWAY_FILE")
