"""``setup_database_roles``, the checks of it, and the product working as the application's role."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from celery import current_app
from django.conf import LazySettings
from django.contrib import admin
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse
from django.utils import timezone
from pytest_django.plugin import DjangoDbBlocker

from accounts.models import User
from accounts.tests.erasing import erased
from accounts.tests.factories import StaffFactory, UserFactory
from creditsite.site.checks import check_roles, differences
from creditsite.site.database_roles import Roles
from creditsite.testing.databases import cloned_database, database_name
from creditsite.testing.people import as_role
from creditsite.tests.database_roles import connected_as, own_roles, set_up
from ledger.models import CreditTransaction, HoldAllocation
from ledger.services.adjustments import reverse_transaction
from ledger.tests.api import as_user


def ask(sql: str, *parameters: object) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def found() -> list[str | None]:
    return [message.id for message in check_roles(["default"])]


@pytest.fixture(scope="module")
def roles(pristine_database: str, django_db_blocker: DjangoDbBlocker) -> Iterator[Roles]:
    """The roles, on a clone for all tests here."""
    with (
        django_db_blocker.unblock(),
        cloned_database(pristine_database),
        own_roles() as roles,
    ):
        set_up(roles)
        yield roles


@pytest.fixture
def others(roles: Roles) -> Roles:
    """Names of roles that do not exist; what a test does with them is undone, as all it does."""
    return Roles(*(f"{name}_other" for name in roles))


class TestSetupDatabaseRoles:
    def test_makes_everything_the_owners(self, roles: Roles) -> None:
        owners = ask(
            "SELECT DISTINCT owner::regrole::text FROM ("
            " SELECT relowner AS owner FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " UNION SELECT proowner FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            " UNION SELECT typowner FROM pg_type WHERE typnamespace = 'public'::regnamespace"
            " UNION SELECT nspowner FROM pg_namespace WHERE nspname = 'public'"
            " UNION SELECT datdba FROM pg_database WHERE datname = current_database()) AS x"
        )
        assert owners == [(roles.owner,)]

    def test_makes_roles_that_may_nothing_of_the_server(self, roles: Roles) -> None:
        rows = ask(
            "SELECT rolname, rolcanlogin, rolsuper OR rolcreatedb OR rolcreaterole"
            " OR rolreplication OR rolbypassrls FROM pg_roles WHERE rolname = ANY (%s)",
            [*roles],
        )
        assert sorted(rows) == sorted((name, name != roles.owner, False) for name in roles)

    def test_changes_nothing_when_it_runs_again(self, roles: Roles) -> None:
        before = privileges()
        assert "Run this again after each migrate." in set_up(roles)
        assert privileges() == before

    def test_prints_what_it_would_do_and_does_nothing(self, others: Roles) -> None:
        before = privileges()
        printed = set_up(others, "--dry-run")
        assert f"CREATE ROLE {others.app};" in printed
        assert "GRANT INSERT, SELECT ON TABLE audit_auditevent" in printed
        assert f"ALTER ROLE {others.app} PASSWORD '…';" in printed
        assert "SCRAM" not in printed
        assert privileges() == before
        assert ask("SELECT 1 FROM pg_roles WHERE rolname = ANY (%s)", [*others]) == []

    def test_keeps_passwords_as_verifiers(self, roles: Roles) -> None:
        kept = ask("SELECT rolpassword FROM pg_authid WHERE rolname = ANY (%s)", [*roles[1:]])
        assert [password[:14] for (password,) in kept] == ["SCRAM-SHA-256$"] * 3

    def test_reads_passwords_from_files(
        self, others: Roles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "password").write_text("from a file\n")
        monkeypatch.setenv("DATABASE_AUDITOR_PASSWORD_FILE", str(tmp_path / "password"))
        call_command("setup_database_roles", **others._asdict(), stdout=StringIO())
        has = dict(ask("SELECT rolname, rolpassword IS NOT NULL FROM pg_authid"))
        assert (has[others.auditor], has[others.app]) == (True, False)
        monkeypatch.setenv("DATABASE_AUDITOR_PASSWORD_FILE", str(tmp_path / "missing"))
        with pytest.raises(CommandError, match="DATABASE_AUDITOR_PASSWORD_FILE"):
            call_command("setup_database_roles", **others._asdict())

    def test_takes_from_roles_that_exist_what_is_too_much(self, others: Roles) -> None:
        execute(f"CREATE ROLE {others.owner} LOGIN")
        execute(f"CREATE ROLE {others.app} LOGIN SUPERUSER CREATEDB IN ROLE {others.owner}")
        execute(f"GRANT ALL ON ledger_wallet TO {others.app}")
        set_up(others)
        execute(f"SET LOCAL ROLE {others.app}")
        assert found() == []

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            ({"app": 'x" SUPERUSER --'}, "Not the name of a role"),
            ({"app": "same", "auditor": "same"}, "four names"),
        ],
    )
    def test_refuses_names(self, roles: Roles, names: dict[str, str], message: str) -> None:
        with pytest.raises(CommandError, match=message):
            call_command("setup_database_roles", **names)

    def test_does_not_take_the_rights_of_who_runs_it(self, others: Roles) -> None:
        ((myself,),) = ask("SELECT session_user::text")
        with pytest.raises(CommandError, match="would lose the right"):
            set_up(others._replace(migrator=myself))

    def test_says_that_it_needs_a_superuser_first(self, roles: Roles) -> None:
        names = roles._replace(auditor=f"{roles.auditor}_other")
        with (
            connected_as(roles.migrator),
            pytest.raises(CommandError, match=r"Missing: .*_other\. Run this with a superuser"),
        ):
            set_up(names)


def privileges() -> list[tuple]:
    return ask(
        "SELECT relname, relowner, relacl::text FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace"
        " UNION ALL SELECT proname, proowner, proacl::text FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace"
        " UNION ALL SELECT datname, datdba, datacl::text FROM pg_database"
        " WHERE datname = current_database()"
        " UNION ALL SELECT setrole::regrole::text, setrole, setconfig::text"
        " FROM pg_db_role_setting"
        " ORDER BY 1, 2, 3"
    )


class TestTheMigrator:
    def test_makes_what_is_the_owners_and_opens_it(self, roles: Roles) -> None:
        with connected_as(roles.migrator):
            with connection.schema_editor() as editor:
                editor.delete_model(HoldAllocation)
                editor.create_model(HoldAllocation)
            owners = ask("SELECT tableowner FROM pg_tables WHERE tablename LIKE 'ledger_hold%%'")
            assert set(owners) == {(roles.owner,)}
        with connected_as(roles.app):
            assert differences() == ["ledger_holdallocation"]
        with connected_as(roles.migrator):
            set_up(roles)
        with connected_as(roles.app):
            assert differences() == []


class TestCheckRoles:
    def test_finds_nothing_for_the_application(self, roles: Roles) -> None:
        execute(f"SET LOCAL ROLE {roles.app}")
        assert found() == []

    @pytest.mark.parametrize("role", ["owner", "migrator"])
    def test_warns_of_the_owner_and_of_who_may_become_it(self, roles: Roles, role: str) -> None:
        execute(f"SET LOCAL ROLE {getattr(roles, role)}")
        assert found() == ["creditsite.W002"]
        execute("RESET ROLE")

    def test_warns_of_a_superuser(self, roles: Roles) -> None:
        assert found() == ["creditsite.W002"]

    @pytest.mark.parametrize(
        "change",
        [
            "GRANT DELETE ON ledger_entry TO {app}",
            "GRANT TRUNCATE ON accounts_user TO PUBLIC",
            "REVOKE INSERT ON audit_auditevent FROM {app}",
            "GRANT EXECUTE ON FUNCTION ledger_recount TO PUBLIC",
            "REVOKE EXECUTE ON FUNCTION ledger_lock_wallet FROM {app}",
            "GRANT CREATE ON SCHEMA public TO {app}",
            "GRANT TEMPORARY ON DATABASE {database} TO {app}",
            "CREATE FUNCTION later() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE TABLE later AS SELECT 1; GRANT SELECT ON later TO {app}",
        ],
    )
    def test_warns_of_what_is_not_as_it_should_be(self, roles: Roles, change: str) -> None:
        execute(change.format(**roles._asdict(), database=database_name()))
        execute(f"SET LOCAL ROLE {roles.app}")
        assert found() == ["creditsite.W003"]


class TestTheProduct:
    """What is done here, production does as the application's role."""

    def test_works_as_the_application(
        self, roles: Roles, settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.ERASURE_LIST_FILE = tmp_path / "erasures.jsonl"
        for name in ("SIGNING_KEY", "CHECKPOINT", "STATE"):
            setattr(settings, f"AUDIT_{name}_FILE", str(tmp_path / name))
        monkeypatch.setenv("DEMO_PASSWORD", "a password of the demo")
        with connected_as(roles.app):
            call_command("seed_demo")
            call_command("backfill_credits")
            self.use_the_api()
            self.open_every_page()
            erased(User.objects.get(email="carol@example.com"), at=timezone.now())
            self.run_every_task(settings)
            call_command("check_ledger")
            assert found() == []

    def use_the_api(self) -> None:
        user = as_user(UserFactory())
        charge = {"feature": "report", "quantity": 1, "description": "A report"}
        spent = user.post("credits/deduct", charge, key="spent").json()["transaction"]["id"]
        hold = user.post("credits/holds", charge).json()["id"]
        assert user.post(f"credits/holds/{hold}/capture").status_code == 200
        staff = StaffFactory()
        reverse_transaction(
            original=CreditTransaction.objects.get(pk=spent),
            actor=staff,
            reason="It came out empty.",
            caller=f"user:{staff.pk}",
            at=timezone.now(),
            idempotency_key="reversed",
        )

    def open_every_page(self) -> None:
        staff = as_role("Admin")
        opened = 0
        for model in admin.site._registry:
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            pages = [staff.get(reverse(f"{name}_changelist"))]
            if model._meta.managed and (row := model._default_manager.first()):
                pages.append(staff.get(reverse(f"{name}_change", args=[row.pk])))
            assert {page.status_code for page in pages} <= {200, 302, 403, 404}, name
            opened += pages[0].status_code == 200
        assert opened > 10

    def run_every_task(self, settings: LazySettings) -> None:
        current_app.loader.import_default_modules()
        for entry in settings.CELERY_BEAT_SCHEDULE.values():
            current_app.tasks[entry["task"]].apply(throw=True)
