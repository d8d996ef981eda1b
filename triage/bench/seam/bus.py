"""Publish and subscribe on the Redis that livekit-server uses; goes on by itself when Redis was away.

redis-py raises on the first command after a loss and does not tell when a subscription stands again. So here every
publication is tried again until its time is over, and one task reads: when its connection breaks it makes a new one and
subscribes to everything anew. `subscribe` returns only when Redis has confirmed, because an answer that comes before
that is lost.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from triage.bench.tasks import Tasks
from triage.errors import Unavailable

log = logging.getLogger("triage.bench.seam")

CONFIRM_S = 5.0
"""A subscription that is not confirmed within this has failed."""
AGAIN_S = 0.1
"""Between two tries while Redis is away."""
POLL_S = 1.0
"""How often the reader looks up from a silent connection."""

Sink = Callable[[bytes], None]
"""Gets every publication on a channel, on the loop; must return at once."""


class Bus:
    """One client of Redis. `start`, use, `stop`."""

    def __init__(self, tasks: Tasks, host: str, port: int, password: str = "") -> None:
        self._tasks = tasks
        self._redis: Any = redis.asyncio.Redis(
            host=host,
            port=port,
            password=password or None,
            socket_connect_timeout=1.0,
            retry=Retry(NoBackoff(), 0),
        )
        self._sinks: dict[str, Sink] = {}
        self._confirmed: dict[str, asyncio.Event] = {}
        self._pubsub: Any = None
        self._reader: asyncio.Task[None] | None = None
        self._closing = False

    async def start(self) -> None:
        """Connect. Raises: Unavailable when Redis does not answer."""
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            raise Unavailable("line", "Redis does not answer") from error

    async def stop(self) -> None:
        """Leave. Bounded in time, also where Redis is gone."""
        self._closing = True
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader], timeout=1.0)
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._redis.aclose()

    async def subscribe(self, channel: str, sink: Sink) -> None:
        """Hear a channel from now on. Raises: Unavailable when Redis does not confirm in time."""
        self._sinks[channel] = sink
        self._confirmed[channel] = asyncio.Event()
        if self._reader is None:
            self._reader = self._tasks.start(self._read(), "reader of the bus")
        elif self._pubsub is not None:
            with suppress(RedisError, OSError):  # the reader notices too, and subscribes anew
                await self._pubsub.subscribe(channel)
        try:
            async with asyncio.timeout(CONFIRM_S):
                await self._confirmed[channel].wait()
        except TimeoutError as error:
            self._forget(channel)
            raise Unavailable("line", "Redis does not confirm a subscription") from error

    async def unsubscribe(self, channel: str) -> None:
        """Hear it no longer."""
        self._forget(channel)
        if self._pubsub is not None:
            with suppress(RedisError, OSError):
                await self._pubsub.unsubscribe(channel)

    async def publish(self, channel: str, data: bytes, within_s: float) -> None:
        """Publish once, trying again while Redis is away. Raises: Unavailable when `within_s` has passed."""
        await self._tried(lambda: self._redis.publish(channel, data), within_s)

    async def take(self, key: str, for_s: int, within_s: float) -> bool:
        """Whether we are the first to take `key`; nobody else can for `for_s` seconds. Raises: Unavailable."""
        return bool(await self._tried(lambda: self._redis.set(key, b"1", nx=True, ex=for_s), within_s))

    async def _tried(self, command: Callable[[], Any], within_s: float) -> Any:
        try:
            async with asyncio.timeout(within_s):
                while True:
                    try:
                        return await command()
                    except (RedisError, OSError):
                        await asyncio.sleep(AGAIN_S)
        except TimeoutError as error:
            raise Unavailable("line", "Redis is away") from error

    def _forget(self, channel: str) -> None:
        self._sinks.pop(channel, None)
        self._confirmed.pop(channel, None)

    async def _read(self) -> None:
        away = False
        while not self._closing:
            pubsub = self._redis.pubsub()
            try:
                await pubsub.subscribe(*self._sinks)
                self._pubsub = pubsub
                # What was added while the connection was being made is in the table, but not yet subscribed.
                await pubsub.subscribe(*self._sinks)
                if away:
                    log.info("Redis is back, %d subscriptions stand again", len(self._sinks))
                    away = False
                while not self._closing:
                    message = await pubsub.get_message(timeout=POLL_S)
                    if message is not None:
                        self._heard(message)
            except (RedisError, OSError):
                if not away and not self._closing:
                    log.warning("Redis is away")
                away = True
                await asyncio.sleep(AGAIN_S)
            finally:
                self._pubsub = None
                with suppress(RedisError, OSError, TimeoutError, RuntimeError):
                    async with asyncio.timeout(1.0):
                        await pubsub.aclose()

    def _heard(self, message: dict[str, Any]) -> None:
        channel = message["channel"].decode()
        if message["type"] == "subscribe":
            if channel in self._confirmed:
                self._confirmed[channel].set()
        elif message["type"] == "message" and (sink := self._sinks.get(channel)) is not None:
            sink(message["data"])
