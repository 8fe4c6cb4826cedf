"""Settings from environment variables; each function composes the mixins it needs. `.env.example` documents them."""

from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Final, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Network = IPv4Network | IPv6Network
SIGNING_KEY_CHARACTERS: Final = 32
"""The fewest characters of an installation's key."""


class _Settings(BaseSettings):
    # Built when a function reads its settings: each of these is only a part of some function's.
    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True, defer_build=True
    )


def _given_or_kept[S: _Settings](settings: S, value: str, arn: str) -> S:
    if getattr(settings, value) is None and getattr(settings, arn) is None:
        raise ValueError(f"set {value.upper()}, or {arn.upper()} where it is kept as a secret")
    return settings


class AwsSettings(_Settings):
    """Where in AWS we are. Lambda sets the region and the credentials itself."""

    aws_region: str = "us-east-1"


class SecretsSettings(AwsSettings):
    """Where secrets are kept that are not given outright; `kept_secrets` reads them, at first use."""

    aws_endpoint_url_secrets_manager: str | None = None


class SslMode(StrEnum):
    """How much a connection to PostgreSQL is protected; libpq's words."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class DatabaseSettings(SecretsSettings):
    """Where PostgreSQL is: a URL, or a secret and what it lacks."""

    database_url: SecretStr | None = None
    database_secret_arn: str | None = None
    """A secret in RDS' shape (JSON: `username`, `password`, perhaps `host`, `port`, `dbname`), or a URL."""
    database_host: str | None = None
    database_port: int = Field(default=5_432, ge=1, le=65_535)
    database_name: str = "scheduler"
    database_sslmode: SslMode = SslMode.REQUIRE
    """Of a connection made with a secret; `DATABASE_URL` says it itself."""
    database_connect_timeout_seconds: int = Field(default=3, ge=1, le=30)
    database_statement_timeout_seconds: float = Field(default=5.0, gt=0, le=300)
    powertools_service_name: str = ""
    """The function's name, which its sessions have in PostgreSQL too."""

    @model_validator(mode="after")
    def _has_a_database(self) -> Self:
        return _given_or_kept(self, "database_url", "database_secret_arn")


class QueueSettings(SecretsSettings):
    """Where Redis is, and how much of what is due it holds."""

    redis_url: SecretStr | None = None
    redis_secret_arn: str | None = None
    """A secret that is such a URL."""
    redis_timeout_seconds: float = Field(default=1.0, gt=0, le=30)
    horizon_seconds: int = Field(default=90, ge=61, le=3_600)
    """How far ahead jobs are put into the ready set; longer than the populator's period of 60 s."""
    ready_set_max: int = Field(default=60_000, ge=1_000, le=5_000_000)

    @model_validator(mode="after")
    def _has_a_redis(self) -> Self:
        return _given_or_kept(self, "redis_url", "redis_secret_arn")


class ScalingSettings(_Settings):
    """How much work calls for one more executor."""

    jobs_per_executor: int = Field(default=5_000, ge=1, le=1_000_000)
    """How many due jobs one executor is given before another is asked for, or may stay."""


class InvocationSettings(AwsSettings):
    """How functions call one another."""

    functions_endpoint: str | None = None
    """Where our own functions are invoked, if not at Lambda's endpoint: Lambda targets of deliveries stay apart."""
    aws_endpoint_url_lambda: str | None = None
    executor_function: str = "executor"
    populator_function: str = "populator"
    watcher_function: str = "watcher"


class TargetSettings(_Settings):
    """Where deliveries may go."""

    allowed_target_networks: Annotated[tuple[Network, ...], NoDecode] = ()
    """Private ranges that deliveries may reach all the same, as CIDRs separated by commas."""

    @field_validator("allowed_target_networks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
        return value


class SigningSettings(SecretsSettings):
    """The installation's key, from which every merchant's webhook secret is derived."""

    signing_key: Annotated[SecretStr, Field(min_length=SIGNING_KEY_CHARACTERS)] | None = None
    signing_key_secret_arn: str | None = None
    """A secret that is such a key."""

    @model_validator(mode="after")
    def _has_a_signing_key(self) -> Self:
        return _given_or_kept(self, "signing_key", "signing_key_secret_arn")


class ObservabilitySettings(_Settings):
    """What is logged."""

    log_level: str = "INFO"
    job_events: bool = False
    """Log a line for single jobs too (at most 20 for each batch): for development and small installations."""


class RecurrenceSettings(_Settings):
    """How far ahead templates' runs become jobs; longer than the recurrence's period of 60 s."""

    look_ahead_seconds: int = Field(default=150, ge=61, le=3_600)
    runs_per_template: int = Field(default=500, ge=1, le=10_000)
    template_page: int = Field(default=200, ge=1, le=5_000)


class LeaseSettings(_Settings):
    """How long an executor may be silent before others get its jobs: a crash is noticed within lease + watch."""

    lease_seconds: float = Field(default=25.0, ge=2, le=40)
    heartbeat_seconds: float = Field(default=5.0, ge=0.2, le=15)
    watch_seconds: float = Field(default=5.0, ge=0.2, le=15)
