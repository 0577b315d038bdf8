import stat

import pytest

from creditsite.running import environment


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout that has never run, in a shell that names nothing."""
    monkeypatch.setattr(environment, "VAR", tmp_path / "var")
    monkeypatch.setattr(environment, "ENV_FILE", tmp_path / "var" / "env")
    for name in ["DEMO", "DATABASE_URL", "REDIS_URL", "SITE_URL", *environment.STRIPE]:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


class TestWrite:
    def test_is_readable_by_its_owner_alone(self, checkout):
        environment.write(port=8000, database_port=8001)
        assert stat.S_IMODE(environment.ENV_FILE.stat().st_mode) == 0o600

    def test_keeps_secrets_and_moves_addresses(self, checkout):
        first = environment.write(port=8000, database_port=8001)
        second = environment.write(port=9000, database_port=9001)
        assert {second[name] for name in environment.SECRETS} == {
            first[name] for name in environment.SECRETS
        }
        password = first["POSTGRES_PASSWORD"]
        assert (
            second["DATABASE_URL"]
            == f"postgresql://creditsite:{password}@127.0.0.1:9001/creditsite"
        )
        assert (second["PORT"], environment.embedded_port()) == ("9000", 9001)

    def test_makes_every_secret_different(self, checkout):
        values = environment.write(port=8000, database_port=8001)
        assert len({values[name] for name in environment.SECRETS}) == len(environment.SECRETS)

    def test_takes_over_a_named_database_and_broker(self, checkout, monkeypatch):
        monkeypatch.setenv("DATABASE_URL", "postgresql://u:p%3D@db/credits?sslmode=require")
        monkeypatch.setenv("REDIS_URL", "redis://cache:6379/1")
        environment.write(port=8000, database_port=8001)
        values = environment.read()
        assert values["DATABASE_URL"] == "postgresql://u:p%3D@db/credits?sslmode=require"
        assert (values["REDIS_URL"], values["EMBEDDED_PORT"]) == ("redis://cache:6379/1", "")


class TestStripe:
    def test_is_the_local_one_with_secrets_that_stay(self, checkout):
        first = environment.write(port=8000, database_port=8001)
        second = environment.write(port=9000, database_port=9001, stripe_port=9900)
        assert first["STRIPE_SECRET_KEY"].startswith("sk_test_")
        assert first["STRIPE_WEBHOOK_SECRETS"].startswith("whsec_")
        secrets = ["STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRETS"]
        assert [second[name] for name in secrets] == [first[name] for name in secrets]
        places = ["STRIPE_API_BASE", "LOCAL_STRIPE_PORT", "SITE_URL"]
        assert [first[name] for name in places] == [
            "http://127.0.0.1:8002",
            "8002",
            "http://127.0.0.1:8000",
        ]
        assert [second[name] for name in places] == [
            "http://127.0.0.1:9900",
            "9900",
            "http://127.0.0.1:9000",
        ]

    def test_is_ones_own_where_a_key_is_named_and_the_local_one_again_without(
        self, checkout, monkeypatch, tmp_path
    ):
        local = environment.write(port=8000, database_port=8001)
        (tmp_path / "key").write_text("sk_test_mine\n")
        monkeypatch.setenv("STRIPE_SECRET_KEY_FILE", str(tmp_path / "key"))
        monkeypatch.setenv("STRIPE_WEBHOOK_SECRETS", "whsec_mine")
        own = environment.write(port=8000, database_port=8001)
        assert [own[name] for name in environment.STRIPE] == ["sk_test_mine", "", "whsec_mine", ""]
        assert own["LOCAL_STRIPE_PORT"] == ""
        monkeypatch.delenv("STRIPE_SECRET_KEY_FILE")
        monkeypatch.delenv("STRIPE_WEBHOOK_SECRETS")
        assert environment.write(port=8000, database_port=8001) == local


class TestMoveDatabase:
    def test_moves_nothing_else(self, checkout, monkeypatch):
        monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_test_mine")
        before = environment.write(port=8000, database_port=8001)
        monkeypatch.delenv("STRIPE_SECRET_KEY")
        environment.move_database(8055)
        after = environment.read()
        assert environment.embedded_port() == 8055
        assert after.pop("DATABASE_URL") == before.pop("DATABASE_URL").replace("8001", "8055")
        assert after.pop("EMBEDDED_PORT") == "8055"
        assert after.items() <= before.items()


class TestApplies:
    @pytest.mark.parametrize(
        ("named", "applies"),
        [
            ({}, True),
            ({"DEMO": "1"}, True),
            ({"DEMO": "1", "DATABASE_URL": "postgresql://db"}, True),
            ({"DATABASE_URL": "postgresql://db"}, False),
            ({"DEMO": "0"}, False),
            ({"DEMO": "0", "DATABASE_URL": "postgresql://db"}, False),
        ],
    )
    def test_never_counts_in_production(self, checkout, monkeypatch, named, applies):
        for name, value in named.items():
            monkeypatch.setenv(name, value)
        assert environment.applies() is applies


class TestEmbeddedPort:
    def test_is_none_beside_a_named_database(self, checkout, monkeypatch):
        environment.write(port=8000, database_port=8001)
        monkeypatch.setenv("DATABASE_URL", "postgresql://db")
        assert environment.embedded_port() is None

    def test_is_none_before_the_first_run(self, checkout):
        assert environment.embedded_port() is None
