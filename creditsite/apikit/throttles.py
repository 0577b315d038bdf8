"""Counting what a caller does in fixed windows of time: cheap enough to stand before a spend."""

import logging
import threading
import time

from django.conf import settings
from django.core.cache import BaseCache, caches
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


class LocalWindow:
    """The counts of one window of this process; a new window starts empty."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._window = -1
        self._counts: dict[str, int] = {}

    def count(self, name: str, window: int) -> int:
        with self._lock:
            if window != self._window:
                self._window, self._counts = window, {}
            self._counts[name] = self._counts.get(name, 0) + 1
            return self._counts[name]


class Throttle:
    """
    At most ``API_THROTTLES[scope]`` = (limit, seconds) of something for each name.

    Where there is Redis the count is shared and atomic (INCR). Where there is none, or it does not
    answer, each process counts for itself: a spend neither writes a table to be counted nor is
    refused because a cache is down.
    """

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self._local = LocalWindow()

    def seconds_to_wait(self, name: str) -> int | None:
        """Count one more for ``name``; return the seconds to wait, ``None`` if it may go on."""
        limit, seconds = settings.API_THROTTLES[self.scope]
        now = time.time()
        window = int(now // seconds)
        if self._count(name, window, seconds) <= limit:
            return None
        return max(1, int((window + 1) * seconds - now))

    def _count(self, name: str, window: int, seconds: int) -> int:
        if cache := self._shared():
            try:
                return self._count_shared(cache, self._key(name, window), seconds)
            except RedisError:
                logger.warning(
                    "Redis did not answer: throttles count in each process", exc_info=True
                )
        return self._local.count(name, window)

    @staticmethod
    def _count_shared(cache: BaseCache, key: str, seconds: int) -> int:
        try:
            return cache.incr(key)
        except ValueError:  # the first of its window; add() leaves a rival's first alone
            cache.add(key, 0, timeout=2 * seconds)
            return cache.incr(key)

    def _key(self, name: str, window: int) -> str:
        return f"throttle:{self.scope}:{window}:{name}"

    @staticmethod
    def _shared() -> BaseCache | None:
        return caches[settings.API_THROTTLE_CACHE] if settings.API_THROTTLE_CACHE else None
