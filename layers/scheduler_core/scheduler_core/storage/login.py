"""How to log in to PostgreSQL, from a URL or from a secret in RDS' shape, and again after the password was changed."""

import json
from collections.abc import Mapping
from typing import Any, Final

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict

from scheduler_core.domain.errors import SecretUnavailableError
from scheduler_core.kept_secrets import GivenSecret, Secret, secret_of
from scheduler_core.settings import DatabaseSettings

_OF_RDS: Final = {"username": "user", "password": "password", "host": "host", "port": "port", "dbname": "dbname"}
"""Members of a secret that RDS made, and libpq's words for them. RDS leaves out the last three where it manages it."""
_NEEDED: Final = {"user": "username", "password": "password", "host": "host (or DATABASE_HOST)"}


class Login:
    """Where and as whom to connect. `fallbacks` (libpq's parameters) fill in what a secret does not say."""

    def __init__(self, secret: Secret, *, source: str, fallbacks: Mapping[str, str] | None = None) -> None:
        """`source` is the secret's name, for those who have to mend it. Without `fallbacks` it says it all."""
        self._secret = secret
        self._source = source
        self._fallbacks = fallbacks

    @classmethod
    def with_url(cls, url: str) -> "Login":
        """With a URL, or any other connection string of libpq's, that says it all."""
        return cls(GivenSecret(url), source="DATABASE_URL")

    @classmethod
    def of(cls, settings: DatabaseSettings) -> "Login":
        """As the settings say. Nothing is read yet."""
        secret = secret_of(settings.database_url, settings.database_secret_arn, settings)
        if settings.database_url is not None:
            return cls(secret, source="DATABASE_URL")
        fallbacks = {
            "port": str(settings.database_port),
            "dbname": settings.database_name,
            "sslmode": settings.database_sslmode.value,
        }
        if settings.database_host:
            fallbacks["host"] = settings.database_host
        return cls(secret, source=settings.database_secret_arn or "", fallbacks=fallbacks)

    def connect[C: Connection[Any]](self, kind: type[C], **options: Any) -> C:
        """A new connection of this kind, in autocommit; `options` are psycopg's and libpq's.

        A secret whose password is refused, or that makes no sense, is read again, once. Raises SecretUnavailableError
        and what psycopg raises.
        """
        told = self._secret.value()
        try:
            return self._connect(kind, told, options)
        except (SecretUnavailableError, psycopg.OperationalError) as error:
            if isinstance(error, psycopg.OperationalError) and not _refused(error):
                raise
            newer = self._secret.after_refusal(told)
            if newer is None:
                raise
        return self._connect(kind, newer, options)

    def _connect[C: Connection[Any]](self, kind: type[C], told: str, options: dict[str, Any]) -> C:
        try:
            parameters = parameters_of(told, self._fallbacks)
        except ValueError as error:
            raise SecretUnavailableError(f"{self._source}: {error}") from None
        return kind.connect(**parameters, autocommit=True, **options)


def parameters_of(told: str, fallbacks: Mapping[str, str] | None) -> dict[str, Any]:
    """libpq's parameters from a connection string or from JSON in RDS' shape, the gaps filled from `fallbacks`.

    Raises ValueError, which names what is wrong and quotes nothing. None for `fallbacks`: whatever is missing is
    libpq's business.
    """
    said = _of_json(told) if told.lstrip().startswith("{") else _of_conninfo(told)
    if fallbacks is None:
        return said
    complete = dict(fallbacks) | said
    missing = [name for word, name in _NEEDED.items() if word not in complete]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    return complete


def _of_json(told: str) -> dict[str, Any]:
    try:
        members = json.loads(told)
    except ValueError:
        raise ValueError("it is not valid JSON") from None
    return {word: str(members[name]) for name, word in _OF_RDS.items() if members.get(name)}


def _of_conninfo(told: str) -> dict[str, Any]:
    try:
        return conninfo_to_dict(told)
    except psycopg.ProgrammingError:  # libpq's message quotes the part that it does not understand
        raise ValueError("it is no URL that PostgreSQL understands") from None


def _refused(error: psycopg.OperationalError) -> bool:
    """Whether a password was asked for and given, and then no connection came of it.

    libpq tells no error code of a connection that failed, and its text is in the server's language.
    """
    return error.pgconn is not None and bool(error.pgconn.used_password)
