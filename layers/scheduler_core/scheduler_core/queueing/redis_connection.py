"""A process's connection to Redis, through refused passwords, failures and failovers, and a subscription beside it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple, Self

from scheduler_core.domain.errors import QueueUnavailableError, SecretUnavailableError
from scheduler_core.kept_secrets import Secret
from scheduler_core.queueing.inability import inability
from scheduler_core.queueing.redis_py import NoBackoff, Pipeline, PubSub, Retry, Script, redis


class _Listening(NamedTuple):
    """A subscription, and the client whose connections end with it."""

    ears: PubSub
    client: redis.Redis


class RedisConnection:
    """One client, made at first use and made anew when its server is of no use, and one subscription.

    Its threads share it. Everything raises QueueUnavailableError where Redis does not answer in time, or cannot do what
    it is told.
    """

    def __init__(
        self, url: Secret, *, timeout_seconds: float, scripts: Callable[[], Mapping[str, str]], wakes_on: str
    ) -> None:
        """`url` is a secret because of its password: read at first use, and again when Redis has refused it.

        `scripts`: sources in Lua by their names, read when a client is made; `wakes_on`: the subscription's channel.
        """
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._sources = scripts
        self._wakes_on = wakes_on
        self._made: redis.Redis | None = None
        self._made_with = ""
        self._listening: _Listening | None = None
        self._scripts: dict[str, Script] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back; a later use makes new ones."""
        self.stop_listening()
        if self._made is not None:
            self._made.close()
            self._made = None

    def stop_listening(self) -> None:
        """Give the subscription back; a later use makes a new one."""
        if self._listening is not None:
            self._listening.ears.close()
            self._listening = None

    @property
    def _redis(self) -> redis.Redis:
        """A client that gives up quickly: whoever waits for Redis has something better to do."""
        client = self._made
        if client is None:
            self._made_with = self._url.value()
            try:
                client = redis.Redis.from_url(
                    self._made_with,
                    socket_connect_timeout=self._timeout_seconds,
                    socket_timeout=self._timeout_seconds + 1.0,
                    # Once more where a connection was lost. Who did not answer in time would not do so the next time.
                    retry=Retry(NoBackoff(), 1, (redis.ConnectionError,)),
                    protocol=2,  # with this and without its name a client says nothing before its first command
                    driver_info=None,
                    single_connection_client=True,  # to take one from a pool and look at it costs as much as a command
                )
            except ValueError:  # a secret that is none: it may be mended while we run
                raise redis.AuthenticationError("the secret is no Redis URL") from None
            self._scripts = {name: client.register_script(source) for name, source in self._sources().items()}
            self._made = client
        return client

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except redis.AuthenticationError as error:
            self._renew()
            raise QueueUnavailableError("Redis refused the password") from error
        except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError) as error:
            raise QueueUnavailableError(type(error).__name__) from error
        except SecretUnavailableError as error:
            raise QueueUnavailableError(str(error)) from error
        except redis.ResponseError as error:
            if (unable := inability(error)) is None:
                raise
            self._let_go()
            raise QueueUnavailableError(unable) from error

    def _let_go(self) -> None:
        """Connect anew at the next use: after a failover that may lead to another server.

        Another thread may be listening, or in the middle of a command: what it uses is closed when it lets go of it.
        """
        self._listening = self._made = None

    @contextmanager
    def _heard(self) -> Iterator[PubSub]:
        """The subscription, made at first use."""
        with self._translated():
            try:
                listening = self._listening
                if listening is None:
                    client = self._redis
                    ears = PubSub(client.connection_pool, ignore_subscribe_messages=True)
                    ears.subscribe(self._wakes_on)
                    self._listening = listening = _Listening(ears, client)
                yield listening.ears
            except (redis.ConnectionError, redis.TimeoutError):
                self._listening = None
                raise

    def _renew(self) -> None:
        """Make a new client at the next use if there is a newer secret. This call is lost: Redis is a cache."""
        with suppress(SecretUnavailableError):
            if self._url.after_refusal(self._made_with) is not None:
                self._let_go()

    @contextmanager
    def _pipeline(self, *, transaction: bool = False) -> Iterator[Pipeline]:
        """Commands that are sent together at the end of the block."""
        with self._translated(), self._redis.pipeline(transaction=transaction) as pipe:
            yield pipe
            pipe.execute()
