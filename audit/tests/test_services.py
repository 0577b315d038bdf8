from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import RequestFactory

from accounts.models import User
from audit.actions import ACTIONS, sentence
from audit.context import AddressMiddleware, current_request, valid_address
from audit.models import AuditEvent
from audit.services import record

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


class TestSentence:
    def test_reads_for_every_action(self):
        said = {sentence(action, actor="ada", target="bob") for action in ACTIONS}
        assert len(said) == len(ACTIONS)
        assert all(each.startswith("ada ") and "bob" in each for each in said)

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


class TestValidAddress:
    @pytest.mark.parametrize(
        ("text", "address"),
        [("192.0.2.7", "192.0.2.7"), ("fe80::1%eth0", "fe80::1"), ("", None), ("unix:", None)],
    )
    def test_takes_addresses_only(self, text, address):
        assert valid_address(text) == address
