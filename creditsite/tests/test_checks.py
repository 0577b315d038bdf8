import pytest
from celery.signals import worker_ready
from django.conf import settings
from django.db import connection
from django.urls import reverse

from creditsite.checks import DURABILITY, KEYS, check_database, check_deployment
from creditsite.site import tasks
from creditsite.testing.people import as_role


@pytest.fixture
def production(settings):
    settings.DEMO = False
    settings.REDIS_URL = "redis://cache"
    settings.EMAIL_IS_SENT, settings.EMAIL_FROM = True, "credits@example.com"
    settings.ERASURE_LIST_FILE = "/elsewhere/erasures.jsonl"
    settings.AUDIT_SIGNING_KEY_FILE = "/run/secrets/signing_key.pem"
    settings.AUDIT_CHECKPOINT_FILE = "/elsewhere/checkpoints.jsonl"
    settings.SITE_URL = "https://credits.example.com"
    settings.STRIPE_SECRET_KEY = "sk_live_x"
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_x"]
    settings.SELLER = {"name": "Seller Ltd", "address": [], "tax_id": ""}
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

    def test_refuses_to_keep_all_e_mails_to_itself(self, production):
        production.EMAIL_IS_SENT = False
        assert found() == ["creditsite.E010"]
        production.EMAIL_IS_SENT, production.EMAIL_FROM = True, ""
        assert found() == ["creditsite.E010"]

    def test_warns_of_erasures_that_only_the_database_knows(self, production):
        production.ERASURE_LIST_FILE = ""
        assert found() == ["creditsite.W004"]

    @pytest.mark.parametrize("name", ["AUDIT_SIGNING_KEY_FILE", "AUDIT_CHECKPOINT_FILE"])
    def test_warns_of_a_record_that_nobody_seals(self, production, name):
        setattr(production, name, "")
        assert found() == ["creditsite.W005"]

    def test_refuses_a_short_key(self, production):
        production.IDENTITY_KEY = "x" * 31
        assert found() == ["creditsite.E002"]

    def test_refuses_one_key_for_two_purposes(self, production):
        production.JWT_SIGNING_KEY = production.SECRET_KEY
        assert found() == ["creditsite.E003"]

    @pytest.mark.parametrize("host", ["*", ".example.com"])
    def test_refuses_hosts_by_pattern(self, production, host):
        production.ALLOWED_HOSTS = ["credits.example.com", host]
        assert found() == ["creditsite.E007"]

    @pytest.mark.parametrize(
        ("name", "milliseconds", "code"),
        [
            ("lock_timeout", 0, "creditsite.E008"),
            ("lock_timeout", 600_001, "creditsite.E008"),
            ("idle_in_transaction_session_timeout", 0, "creditsite.E008"),
            ("statement_timeout", -1, "creditsite.E008"),
            ("statement_timeout", 10_000, "creditsite.E009"),
        ],
    )
    def test_refuses_waits_without_an_end(self, production, name, milliseconds, code):
        limits = {
            "statement_timeout": 30_000,
            "lock_timeout": 10_000,
            "idle_in_transaction_session_timeout": 60_000,
        }
        production.DATABASE_TIMEOUTS_MS = limits
        assert found() == []
        production.DATABASE_TIMEOUTS_MS = limits | {name: milliseconds}
        assert found() == [code]

    def test_lets_the_statements_of_commands_take_their_time(self, production):
        production.DATABASE_TIMEOUTS_MS = production.DATABASE_TIMEOUTS_MS | {"statement_timeout": 0}
        assert found() == []

    def test_warns_where_nobody_can_pay(self, production):
        production.STRIPE_SECRET_KEY = ""
        production.STRIPE_WEBHOOK_SECRETS = []
        assert found() == ["creditsite.W006"]

    @pytest.mark.parametrize(
        ("key", "code"),
        [
            ("rk_live_x", None),
            ("sk_test_x", "creditsite.W007"),
            ("rk_test_x", "creditsite.W007"),
            ("pk_live_x", "creditsite.E011"),
        ],
    )
    def test_knows_keys_that_bring_no_money(self, production, key, code):
        production.STRIPE_SECRET_KEY = key
        assert found() == ([code] if code else [])

    def test_refuses_a_key_without_a_secret_of_webhooks(self, production):
        production.STRIPE_WEBHOOK_SECRETS = []
        assert found() == ["creditsite.E012"]

    def test_warns_of_receipts_of_nobody(self, production):
        production.SELLER = {"name": "", "address": [], "tax_id": ""}
        assert found() == ["creditsite.W008"]

    @pytest.mark.parametrize(
        ("address", "code"),
        [
            ("", "creditsite.W009"),
            ("http://credits.example.com", "creditsite.E013"),
            ("https://credits.example.com/app", "creditsite.E013"),
            ("https://me@credits.example.com", "creditsite.E013"),
            ("credits.example.com", "creditsite.E013"),
        ],
    )
    def test_says_what_is_wrong_with_links_in_e_mails(self, production, address, code):
        production.SITE_URL = address
        assert found() == [code]

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


@pytest.mark.django_db
class TestDurability:
    """What a crash would take back is told at start, every hour, and on the staff's first page."""

    lost = "synchronous_commit is off: a crash takes back what was answered as done."

    @pytest.fixture(autouse=True)
    def server(self, db, monkeypatch):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")

    def test_is_checked(self):
        messages = check_database(["default"])
        assert [(message.id, message.msg) for message in messages] == [
            ("creditsite.E006", self.lost)
        ]

    def test_is_checked_of_every_setting_that_it_hangs_on(self, monkeypatch):
        assert list(DURABILITY) == ["fsync", "full_page_writes", "synchronous_commit"]

    def test_is_logged_by_the_hour(self, caplog):
        tasks.check_database()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert self.lost in caplog.text
        assert {"task": "creditsite.site.tasks.check_database"}.items() <= (
            settings.CELERY_BEAT_SCHEDULE["check the database"].items()
        )

    def test_is_checked_by_a_worker_that_starts(self, monkeypatch):
        queued = []
        monkeypatch.setattr(tasks.check_database, "delay", lambda: queued.append(1))
        worker_ready.send(sender=None)
        assert queued == [1]

    def test_stands_on_the_start_page_of_who_may_do_something_about_it(self):
        for group, is_told in [("Admin", True), ("Auditor", True), ("Support", False)]:
            page = as_role(group).get(reverse("admin:index"))
            assert (self.lost in page.text) == is_told
