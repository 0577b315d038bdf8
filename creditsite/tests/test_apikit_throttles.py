import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import time_machine

from creditsite.apikit.throttles import Throttle

NOON = datetime(2026, 3, 1, 12, 0, 10, tzinfo=UTC)


@pytest.fixture(autouse=True)
def three_a_minute(settings):
    settings.API_THROTTLES = {"test": (3, 60)}
    settings.API_THROTTLE_CACHE = None


def waits(throttle: Throttle, name: str, times: int) -> list[int | None]:
    return [throttle.seconds_to_wait(name) for _ in range(times)]


class TestThrottle:
    def test_lets_as_many_through_as_the_limit_says(self):
        with time_machine.travel(NOON, tick=False):
            assert waits(Throttle("test"), "a", 5) == [None, None, None, 50, 50]

    def test_counts_each_name_apart(self):
        with time_machine.travel(NOON, tick=False):
            throttle = Throttle("test")
            assert waits(throttle, "a", 4)[-1] == 50
            assert waits(throttle, "b", 1) == [None]

    def test_starts_again_in_the_next_window(self):
        throttle = Throttle("test")
        with time_machine.travel(NOON, tick=False) as clock:
            assert waits(throttle, "a", 4)[-1] == 50
            clock.shift(50)
            assert waits(throttle, "a", 3) == [None, None, None]

    def test_asks_to_wait_a_second_at_least(self):
        with time_machine.travel(NOON.replace(second=59, microsecond=900_000), tick=False):
            assert waits(Throttle("test"), "a", 4)[-1] == 1

    def test_counts_in_the_process_when_redis_does_not_answer(self, settings, caplog):
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": "redis://127.0.0.1:1/0",
            }
        }
        settings.API_THROTTLE_CACHE = "default"
        throttle = Throttle("test")
        with time_machine.travel(NOON, tick=False):
            assert waits(throttle, "a", 4) == [None, None, None, 50]
        assert "Redis did not answer" in caplog.text


@pytest.mark.redis
class TestThrottleOnRedis:
    @pytest.fixture(autouse=True)
    def shared(self, settings):
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
                "KEY_PREFIX": uuid.uuid4().hex,
            }
        }
        settings.API_THROTTLE_CACHE = "default"

    def test_counts_what_all_processes_do(self):
        with time_machine.travel(NOON, tick=False):
            assert waits(Throttle("test"), "a", 2) == [None, None]
            assert waits(Throttle("test"), "a", 2) == [None, 50]

    def test_loses_no_count_to_a_race(self, settings):
        settings.API_THROTTLES = {"test": (100, 60)}
        throttle = Throttle("test")
        with time_machine.travel(NOON, tick=False), ThreadPoolExecutor(16) as threads:
            outcomes = list(threads.map(lambda _: throttle.seconds_to_wait("a"), range(300)))
        assert (outcomes.count(None), outcomes.count(50)) == (100, 200)
