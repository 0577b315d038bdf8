from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.test import RequestFactory

from accounts.models import User
from audit.actions import ACTIONS, sentence
from audit.context import AddressMiddleware, current_request
from audit.models import AuditEvent, UnsealedEvent
from audit.services import erase_text, record

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.django_db
class TestRecord:
    def test_writes_who_did_what_to_what_and_why(self):
        actor = User.objects.create_user("ada@example.com")
        target = User.objects.create_user("bob@example.com")
        record(
            "accounts.user.deactivated",
            actor=actor,
            target=target,
            at=AT,
            reason="asked by the user",
            before={"is_active": True},
            after={"is_active": False},
            on_behalf_of=target,
            approval_id=7,
        )
        (event,) = AuditEvent.objects.all()
        assert (event.actor_id, event.actor_label) == (actor.pk, "ada@example.com")
        assert (event.on_behalf_of_id, event.on_behalf_of_label) == (target.pk, "bob@example.com")
        assert (event.target_type, event.target_id) == ("accounts.user", str(target.pk))
        assert (event.before, event.after) == ({"is_active": True}, {"is_active": False})
        assert (event.at, event.reason, event.approval_id) == (AT, "asked by the user", 7)
        assert str(event) == "ada@example.com deactivated bob@example.com"

    def test_names_the_system_where_nobody_acted(self):
        user = User.objects.create_user("bob@example.com")
        event = record("accounts.user.activated", actor=None, target=user, at=AT)
        assert str(event) == "The system activated bob@example.com"
        assert (event.actor_id, event.request_id, event.address) == (None, "", None)

    def test_outlives_actor_and_target(self):
        # Groups, because they can be deleted: the books protect users who have credits.
        actor, target = Group.objects.create(name="ada"), Group.objects.create(name="bob")
        record("accounts.user.activated", actor=actor, target=target, at=AT)
        Group.objects.filter(name__in=["ada", "bob"]).delete()
        assert str(AuditEvent.objects.get()) == "ada activated bob"

    def test_refuses_an_action_that_is_not_listed(self):
        user = User.objects.create_user("bob@example.com")
        with pytest.raises(ValueError, match=r"accounts\.user\.eaten"):
            record("accounts.user.eaten", actor=None, target=user, at=AT)
        assert not AuditEvent.objects.exists()

    def test_goes_when_the_act_is_rolled_back(self):
        user = User.objects.create_user("bob@example.com")
        with transaction.atomic():
            record("accounts.user.activated", actor=None, target=user, at=AT)
            transaction.set_rollback(True)
        assert not AuditEvent.objects.exists()

    def test_refuses_to_be_written_outside_of_a_transaction(self, monkeypatch):
        user = User.objects.create_user("bob@example.com")
        monkeypatch.setattr("audit.services.connection", SimpleNamespace(in_atomic_block=False))
        with pytest.raises(RuntimeError):
            record("accounts.user.activated", actor=None, target=user, at=AT)


@pytest.mark.django_db
class TestTriggers:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE audit_auditevent SET reason = 'better'",
            "UPDATE audit_auditevent SET reason = 'better' WHERE false",
            "SET LOCAL audit.writer = 'erasure'; UPDATE audit_auditevent SET reason = 'better'",
            "SET LOCAL audit.writer = 'erasure'; UPDATE audit_auditevent SET reason = '', actor_id"
            " = NULL, actor_label = '', target_label = '', text_salt = NULL, erased_at = now(),"
            " target_id = '2'",
            "DELETE FROM audit_auditevent",
            "TRUNCATE audit_auditevent",
            "SET LOCAL session_replication_role = replica; DELETE FROM audit_auditevent",
        ],
    )
    def test_refuse(self, statement):
        record("accounts.user.activated", actor=None, target=Group(pk=1, name="g"), at=AT)
        with (
            pytest.raises(Exception, match="audit events are never changed"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
        assert AuditEvent.objects.get().reason == ""


@pytest.mark.django_db
class TestGuardsOfSeals:
    @pytest.mark.parametrize("table", ["auditseal", "checkpoint", "sealedrange", "verification"])
    @pytest.mark.parametrize(
        "statement", ["DELETE FROM {}", "TRUNCATE {} CASCADE", "UPDATE {} SET {}"]
    )
    def test_refuse(self, table, statement):
        column = {"auditseal": "number = 1", "checkpoint": "number = 1"}.get(table, "id = 1")
        with (
            pytest.raises(IntegrityError, match="never changes"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement.format(f"audit_{table}", column))


@pytest.mark.django_db
class TestEraseText:
    def test_erases_what_was_done_by_for_and_about_somebody_or_names_them(self):
        ada = User.objects.create_user("ada@example.com")
        bob = User.objects.create_user("bob@example.com")

        def event(**fields):
            fields = {"actor": bob, "target": bob, "at": AT, "reason": "a reason", **fields}
            return record("accounts.user.activated", **fields)

        erased = [
            event(actor=ada),
            event(on_behalf_of=ada),
            event(target=ada),
            event(reason="called by ADA LOVELACE"),
            event(before={"name": "Ada Lovelace"}),
            event(after={"names": ["x", "ada lovelace"]}),
        ]
        kept = event()
        count = erase_text(
            actor_ids=[ada.pk],
            targets=[("accounts.user", str(ada.pk))],
            words=["Ada Lovelace", "", "  "],
            at=AT,
        )
        assert count == 6
        for each in erased:
            each.refresh_from_db()
            assert (each.actor_label, each.target_label, each.reason) == ("", "", "")
            assert (each.before, each.after, each.address, each.text_salt) == (None,) * 4
            assert each.erased_at == AT
            assert each.action == "accounts.user.activated"
        kept.refresh_from_db()
        assert (kept.reason, kept.erased_at) == ("a reason", None)
        assert str(erased[0]) == (
            f"Someone whose name was erased (user {ada.pk}) activated"
            f" someone whose name was erased (user {bob.pk})"
        )

    def test_finds_a_word_with_quotes_and_accents_in_whatever_case(self):
        for name in ['ÄNNE "Anni" O\\Brien', 'änne "anni" o\\brien']:
            record(
                "accounts.user.renamed",
                actor=None,
                target=Group(pk=1, name="g"),
                at=AT,
                before={"name": name},
            )
        assert erase_text(actor_ids=[], targets=[], words=['Änne "Anni" O\\Brien'], at=AT) == 2

    def test_says_in_the_record_which_events_it_erased(self):
        event = record("accounts.user.activated", actor=None, target=Group(pk=1, name="g"), at=AT)
        erase_text(actor_ids=[], targets=[("auth.group", "1")], words=[], at=AT)
        said = AuditEvent.objects.latest("pk")
        assert str(said) == "The system erased the text of 1 audit events"
        assert said.after == {"events": [event.pk]}

    def test_erases_nothing_twice_and_says_nothing_of_nothing(self):
        record("accounts.user.activated", actor=None, target=Group(pk=1, name="g"), at=AT)
        for count in [1, 0]:
            assert erase_text(actor_ids=[], targets=[("auth.group", "1")], words=[], at=AT) == count
        assert AuditEvent.objects.count() == 2


class TestMigration:
    def test_lets_events_of_before_wait_for_their_seal(self, ledger_db):
        executor = MigrationExecutor(connection)
        executor.migrate([("audit", "0002_events_never_change")])
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO audit_auditevent (at, action, actor_label, on_behalf_of_label,"
                " target_type, target_id, target_label, reason, request_id)"
                " SELECT now(), 'accounts.user.activated', 'x', '', 'auth.group', '1', 'x', '', ''"
                " FROM generate_series(1, 2)"
            )
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes("audit"))
        first, second = AuditEvent.objects.all()
        assert None not in (first.text_salt, second.text_salt)
        assert first.text_salt != second.text_salt
        assert UnsealedEvent.objects.count() == 2


class TestSentence:
    def test_reads_for_every_action(self):
        said = {action: sentence(action, actor="ada", target="bob") for action in ACTIONS}
        assert len(set(said.values())) == len(ACTIONS)
        assert all(each.startswith("ada ") for each in said.values())
        # What people do to themselves needs no second name.
        assert {action for action, each in said.items() if "bob" not in each} == {
            "accounts.factor.added",
            "accounts.factor.removed",
            "accounts.password.changed",
            "accounts.password.reset",
            "accounts.staff.signed_in",
        }

    def test_shows_the_name_of_an_action_that_this_release_does_not_know(self):
        assert (
            sentence("billing.moon.sold", actor="ada", target="m1") == "ada: billing.moon.sold m1"
        )


class TestCurrentRequest:
    def test_is_the_request_being_answered_and_none_afterwards(self):
        seen = []
        middleware = AddressMiddleware(lambda request: seen.append(current_request()))
        middleware(RequestFactory().get("/", REMOTE_ADDR="192.0.2.7"))
        assert seen == [("", "192.0.2.7")]
        assert current_request() == ("", None)
