"""Settings from environment variables; each function composes the mixins it needs. `.env.example` documents them."""

import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

Network = IPv4Network | IPv6Network
REQUIRED: Any = Field()
"""The default of what has none. A type checker takes it for one, since the environment gives what a caller does not."""


class _Settings(BaseModel):
    """Fields that are not given come from the environment: a variable of the field's name in capitals, if not empty.

    The library for this imports readers of files and command lines that no function has: a fifth of its cold start.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _from_environment(cls, given: Any) -> Any:
        found = {name: value for name in cls.model_fields if (value := os.environ.get(name.upper()))}
        return found | given if isinstance(given, dict) else given


class DatabaseSettings(_Settings):
    """Where PostgreSQL is."""

    database_url: SecretStr = REQUIRED
    database_connect_timeout_seconds: int = Field(default=3, ge=1, le=30)
    database_statement_timeout_seconds: float = Field(default=5.0, gt=0, le=300)


class QueueSettings(_Settings):
    """Where Redis is, and how much of what is due it holds."""

    redis_url: SecretStr = REQUIRED
    redis_timeout_seconds: float = Field(default=1.0, gt=0, le=30)
    horizon_seconds: int = Field(default=90, ge=61, le=3_600)
    """How far ahead jobs are put into the ready set; longer than the populator's period of 60 s."""
    ready_set_max: int = Field(default=50_000, ge=1_000, le=5_000_000)


class ScalingSettings(_Settings):
    """How much work calls for one more executor."""

    jobs_per_executor: int = Field(default=5_000, ge=1, le=1_000_000)
    """How many due jobs one executor is given before another is asked for, or may stay."""


class InvocationSettings(_Settings):
    """How functions call one another. Lambda sets the region and the credentials itself."""

    functions_endpoint: str | None = None
    """Where our own functions are invoked, if not at Lambda's endpoint: Lambda targets of deliveries stay apart."""
    aws_endpoint_url_lambda: str | None = None
    aws_region: str = "us-east-1"
    executor_function: str = "executor"
    populator_function: str = "populator"
    watcher_function: str = "watcher"


class TargetSettings(_Settings):
    """Where deliveries may go."""

    allowed_target_networks: tuple[Network, ...] = ()
    """Private ranges that deliveries may reach all the same, as CIDRs separated by commas."""

    @field_validator("allowed_target_networks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
        return value


class SigningSettings(_Settings):
    """The installation's key, from which every merchant's webhook secret is derived."""

    signing_key: Annotated[SecretStr, Field(min_length=32)] = REQUIRED


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
