"""The deployer's own settings."""

from pydantic import Field

from chassis import ServiceSettings


class Settings(ServiceSettings):
    """What the deployer is told by its environment."""

    serving_url: str = Field("http://127.0.0.1:8710", validation_alias="CAIRN_SERVING_URL", pattern=r"^https?://")
