import pytest
from celery import current_app
from django.core.management import call_command
from django.db import connection

from creditsite.testing.ports import free_port_pair


class TestHealthz:
    def test_answers_without_a_database(self, client):
        answer = client.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


class TestReadyz:
    @pytest.mark.django_db
    def test_answers_200_when_all_is_there(self, client):
        answer = client.get("/readyz")
        checks = {"database": "ok", "migrations": "ok", "broker": "ok"}
        assert (answer.status_code, answer.json()) == (200, {"status": "ok", "checks": checks})

    def test_says_how_many_migrations_are_missing(self, ledger_db, client):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE app = 'sessions'")
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["migrations"]) == (503, "1 not applied")
        call_command("migrate", "sessions", fake=True, verbosity=0)

    def test_says_that_the_database_is_gone_and_recovers(self, ledger_db, client, settings):
        port = settings.DATABASES["default"]["PORT"]
        connection.close()
        settings.DATABASES["default"]["PORT"] = free_port_pair()
        answer = client.get("/readyz")
        settings.DATABASES["default"]["PORT"] = port
        assert answer.status_code == 503
        assert answer.json()["checks"] == {
            "database": "no answer",
            "migrations": "unknown",
            "broker": "ok",
        }
        assert client.get("/readyz").status_code == 200

    @pytest.mark.django_db
    def test_says_that_the_broker_is_gone(self, client, monkeypatch):
        address = f"redis://127.0.0.1:{free_port_pair()}/0"
        monkeypatch.setattr(current_app.conf, "broker_write_url", address)
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["broker"]) == (503, "no answer")
