import os
import signal
import socket
import tempfile
from pathlib import Path
from unittest import mock

import psycopg
import pytest

from creditsite import embedded
from creditsite.running import environment
from creditsite.running.programs import EmbeddedError
from creditsite.testing.ports import free_port_pair

pytestmark = pytest.mark.once


@pytest.fixture
def port(monkeypatch):
    """A port for the server of a checkout of its own, which the user nobody may pass."""
    with tempfile.TemporaryDirectory() as directory:
        var = Path(directory) / "var"
        Path(directory).chmod(0o755)
        monkeypatch.setattr(environment, "VAR", var)
        monkeypatch.setattr(environment, "ENV_FILE", var / "env")
        monkeypatch.setattr(embedded, "VAR", var)
        monkeypatch.setattr(embedded, "DATA", var / "pg")
        monkeypatch.setattr(embedded, "LOG", var / "pg.log")
        for name in ["DEMO", "DATABASE_URL"]:
            monkeypatch.delenv(name, raising=False)
        port = free_port_pair()
        environment.write(port=port - 1, database_port=port)
        yield port
        with embedded.in_use(
            port
        ):  # Whatever a test leaves running is stopped by the last to leave.
            pass


def ask(question: str) -> object:
    with psycopg.connect(environment.read()["DATABASE_URL"]) as database:
        return database.execute(question.encode()).fetchone()[0]


def is_running() -> bool:
    with embedded.opened("pg.alive") as alive:
        return not embedded.can_lock(alive)


class TestInUse:
    def test_makes_a_database_that_writes_what_it_says(self, port):
        with embedded.in_use(port) as actual:
            assert actual == port
            assert ask("SELECT current_setting('fsync')") == "on"
            assert ask("SELECT current_setting('server_version_num')::int / 10000") == 18
            assert ask("SELECT current_setting('server_encoding')") == "UTF8"
            assert (
                ask("SELECT datcollate FROM pg_database WHERE datname = current_database()") == "C"
            )

    def test_asks_for_the_password(self, port):
        with embedded.in_use(port):
            url = environment.read()["DATABASE_URL"].replace(
                environment.read()["POSTGRES_PASSWORD"], "x"
            )
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(url)

    def test_stops_with_the_last_to_leave(self, port):
        with embedded.in_use(port):
            with embedded.in_use(port):
                pass
            assert ask("SELECT 1") == 1
        assert not is_running()

    def test_keeps_the_data(self, port):
        with embedded.in_use(port):
            ask("SELECT lo_create(4711)")
        with embedded.in_use(port):
            assert ask("SELECT oid FROM pg_largeobject_metadata") == 4711

    def test_gives_the_port_of_a_server_that_others_use(self, port):
        with embedded.in_use(port), embedded.in_use(port + 1) as actual:
            assert actual == port

    def test_does_not_count_a_user_that_was_killed(self, port):
        if (child := os.fork()) == 0:
            with embedded.in_use(port):
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        assert is_running()
        with embedded.in_use(port):
            assert ask("SELECT 1") == 1
        assert not is_running()

    def test_starts_again_after_the_server_was_killed(self, port):
        with embedded.in_use(port):
            os.kill(embedded.postmaster()[0], signal.SIGKILL)
            with embedded.in_use(port):
                assert ask("SELECT 1") == 1

    def test_takes_another_port_when_a_stranger_has_that_one(self, port):
        with socket.create_server(("127.0.0.1", port)), embedded.in_use(port) as actual:
            assert actual != port
            assert embedded.answers(actual)
        assert not is_running()

    def test_leaves_a_port_that_is_taken_between_the_look_and_the_start(self, port, monkeypatch):
        looks = iter([True])
        is_free = embedded.is_free
        monkeypatch.setattr(embedded, "is_free", lambda each: next(looks, None) or is_free(each))
        with socket.create_server(("127.0.0.1", port)), embedded.in_use(port) as actual:
            assert actual != port
            assert embedded.answers(actual)

    def test_says_why_it_does_not_start(self, port):
        with embedded.in_use(port):
            pass
        with (
            mock.patch.dict(embedded.SERVER_SETTINGS, no_such_setting="1"),
            pytest.raises(
                EmbeddedError, match=f"did not start on port {port}(?s:.*)no_such_setting"
            ),
            embedded.in_use(port),
        ):
            pytest.fail("it started")
        assert not is_running()


class TestForThisProcess:
    def test_starts_nothing_beside_a_named_database(self, port, monkeypatch):
        monkeypatch.setenv("DATABASE_URL", "postgresql://db")
        with embedded.for_this_process():
            assert not is_running()

    def test_writes_down_the_port_that_it_took_instead(self, port):
        with socket.create_server(("127.0.0.1", port)), embedded.for_this_process():
            assert environment.embedded_port() != port
            assert ask("SELECT 1") == 1

    def test_writes_down_the_port_of_a_server_that_others_use(self, port):
        with embedded.in_use(port):
            environment.write(port=port + 9, database_port=port + 10)
            with embedded.for_this_process():
                assert environment.embedded_port() == port
                assert ask("SELECT 1") == 1
