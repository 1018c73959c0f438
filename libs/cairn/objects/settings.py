"""How to reach an S3 server, in the names that every S3 tool knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class S3Settings:
    """Address of an S3 server and the credentials for it."""

    endpoint: str = "https://s3.amazonaws.com"
    region: str = "us-east-1"
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)


def read_s3_settings(environment: Mapping[str, str]) -> S3Settings:
    """The settings of an environment: `AWS_ENDPOINT_URL_S3`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, ….

    Keys and token may instead stand in files that `AWS_SECRET_ACCESS_KEY_FILE` and its like name. What is not set
    stays empty: it is demanded by whoever opens a bucket. Raises ValueError, naming the setting.
    """

    def first(*names: str) -> str:
        return next((environment[name] for name in names if environment.get(name)), "")

    return S3Settings(
        endpoint=first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") or S3Settings.endpoint,
        region=first("AWS_REGION", "AWS_DEFAULT_REGION") or S3Settings.region,
        access_key=_secret(environment, "AWS_ACCESS_KEY_ID"),
        secret_key=_secret(environment, "AWS_SECRET_ACCESS_KEY"),
        session_token=_secret(environment, "AWS_SESSION_TOKEN"),
    )


def _secret(environment: Mapping[str, str], name: str) -> str:
    value, file = environment.get(name, ""), environment.get(f"{name}_FILE", "")
    if value and file:
        raise ValueError(f"{name} and {name}_FILE are both set: set one of them")
    if not file:
        return value
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name}_FILE names {file!r}, which cannot be read: {error}") from error
