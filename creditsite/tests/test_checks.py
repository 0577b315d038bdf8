import pytest

from creditsite.checks import KEYS, check_database, check_deployment


@pytest.fixture
def production(settings):
    settings.DEMO = False
    settings.REDIS_URL = "redis://cache"
    for name in KEYS:
        setattr(settings, name, f"{name} ".ljust(50, "."))
    return settings


def found() -> list[str | None]:
    return [message.id for message in check_deployment(None)]


class TestCheckDeployment:
    def test_finds_nothing_in_a_good_installation(self, production):
        assert found() == []

    def test_refuses_a_demo(self, production):
        production.DEMO = True
        assert found() == ["creditsite.E001"]

    def test_refuses_a_short_key(self, production):
        production.IDENTITY_KEY = "x" * 31
        assert found() == ["creditsite.E002"]

    def test_refuses_one_key_for_two_purposes(self, production):
        production.JWT_SIGNING_KEY = production.SECRET_KEY
        assert found() == ["creditsite.E003"]

    def test_warns_of_a_queue_that_one_machine_sees(self, production):
        production.REDIS_URL = ""
        assert found() == ["creditsite.W001"]


@pytest.mark.django_db
class TestCheckDatabase:
    def test_finds_nothing_on_a_good_server(self):
        assert check_database(["default"]) == []

    def test_refuses_an_old_server(self, monkeypatch):
        monkeypatch.setattr("creditsite.checks.OLDEST_POSTGRESQL", 990_000)
        assert [message.id for message in check_database(["default"])] == ["creditsite.E004"]
