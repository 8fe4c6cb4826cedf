"""What a self-hosted installation may say about the processes that host the functions; `.env.example` documents it."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).parents[1]


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)


class HostingSettings(_Settings):
    """All of `python -m hosting`."""

    listen_address: str = "127.0.0.1"
    """Where gateway and Invoke API listen. Inside a container all addresses: what is published decides there."""
    gateway_port: int = Field(default=3000, ge=1, le=65_535)
    invoke_port: int = Field(default=9000, ge=1, le=65_535)
    """Where the workers are invoked by the API, which wakes executors."""
    api_processes: int = Field(default=4, ge=1, le=64)
    """The most requests that the API works on at once."""
    authorizer_processes: int = Field(default=2, ge=1, le=64)
    executor_processes: int = Field(default=2, ge=1, le=64)
    """The most executors that run at once in one `workers`. `MAX_EXECUTORS` is for all of them together."""
    access_log: bool = True
    """A line for each request."""
    stop_seconds: float = Field(default=0.0, ge=0, le=300)
    """How long deliveries under way may go on when the process is asked to end; then they are given back."""


class MigrateSettings(_Settings):
    """What `python -m hosting migrate` needs."""

    database_url: SecretStr
