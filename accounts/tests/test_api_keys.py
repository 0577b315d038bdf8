import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from accounts.errors import InvalidFields
from accounts.models import ApiKey
from accounts.services.api_keys import (
    create_api_key,
    find_api_key,
    note_use,
    revoke_api_key,
    rotate_api_key,
)
from accounts.tests.factories import StaffFactory, UserFactory
from audit.models import AuditEvent
from creditsite.errors import Conflict, NotPermitted
from creditsite.testing.races import race

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def make_key(**fields):
    fields = {"name": "llm gateway", "scopes": ["credits:spend"], "actor": None, "at": AT, **fields}
    return create_api_key(**{"owner": fields.pop("owner", None) or StaffFactory(), **fields})


@pytest.mark.django_db
class TestCreateApiKey:
    def test_keeps_a_digest_and_shows_the_secret_once(self):
        owner = StaffFactory()
        key, secret = make_key(owner=owner, actor=owner, scopes=["credits:spend", "credits:read"])
        assert re.fullmatch(r"ck_live_[0-9A-Za-z]{51}", secret)
        assert secret.startswith(key.prefix)
        key.refresh_from_db()
        stored = repr(list(ApiKey.objects.values())) + repr(list(AuditEvent.objects.values()))
        assert secret[len(key.prefix) :] not in stored
        assert len(key.digest) == 32
        event = AuditEvent.objects.get()
        assert (event.action, event.actor_label) == ("accounts.api_key.created", owner.email)
        assert event.after["scopes"] == ["credits:read", "credits:spend"]

    def test_makes_another_secret_each_time(self):
        assert make_key()[1] != make_key()[1]

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"scopes": []}, "scopes"),
            ({"scopes": ["credits:mint"]}, "scopes"),
            ({"name": " "}, "name"),
            ({"name": "a\0"}, "name"),
            ({"expires_at": AT}, "expires_at"),
            ({"expires_at": AT + timedelta(days=367)}, "expires_at"),
            ({"daily_cap": 0}, "daily_cap"),
            ({"daily_cap": 10**15 + 1}, "daily_cap"),
        ],
    )
    def test_refuses_what_is_wrong(self, fields, field):
        with pytest.raises(InvalidFields) as refusal:
            make_key(**fields)
        assert set(refusal.value.errors) == {field}
        assert not ApiKey.objects.exists()

    @pytest.mark.parametrize("state", [{"is_active": False}, {"is_staff": False}])
    def test_refuses_an_owner_who_is_not_active_staff(self, state):
        with pytest.raises(InvalidFields) as refusal:
            make_key(owner=StaffFactory(**state))
        assert set(refusal.value.errors) == {"owner"}

    @pytest.mark.parametrize(
        "scope",
        ["credits:admin", "credits:spend", "credits:hold", "billing:write"],
    )
    @pytest.mark.parametrize("group", ["Support", "Auditor"])
    def test_refuses_to_lend_what_the_owner_may_not_do(self, scope, group):
        with pytest.raises(InvalidFields) as refusal:
            make_key(owner=StaffFactory(groups=group), scopes=["credits:read", scope])
        assert set(refusal.value.errors) == {"owner"}
        make_key(owner=StaffFactory(groups="Finance"), scopes=["credits:read", scope])
        make_key(owner=StaffFactory(groups=group), scopes=["credits:read", "billing:read"])

    def test_lasts_a_year_if_nothing_else_is_said(self):
        assert make_key()[0].expires_at == AT + timedelta(days=365)
        assert make_key(expires_at=AT + timedelta(1))[0].expires_at == AT + timedelta(1)

    def test_refuses_a_third_live_key_of_a_name_and_owner(self):
        owner = StaffFactory()
        for _ in range(2):
            make_key(owner=owner)
        with pytest.raises(InvalidFields) as refusal:
            make_key(owner=owner)
        assert set(refusal.value.errors) == {"name"}
        make_key(owner=owner, name="another")
        make_key()
        make_key(owner=owner, at=AT + timedelta(days=365))  # when the two have expired

    def test_makes_two_of_three_at_once(self, ledger_db):
        owner = StaffFactory()
        outcomes = race(*[lambda: make_key(owner=owner)] * 3)
        assert sorted(outcomes) == ["InvalidFields", "tuple", "tuple"]

    @pytest.mark.parametrize("group", ["Finance", "Support", "Auditor"])
    def test_is_for_admins_whoever_calls_it(self, group):
        with pytest.raises(NotPermitted):
            make_key(actor=StaffFactory(groups=group))
        with pytest.raises(NotPermitted):
            make_key(actor=UserFactory(is_superuser=True))
        assert not ApiKey.objects.exists()

    def test_tells_the_owner(self, mailoutbox):
        key, secret = make_key(actor=StaffFactory(email="eve@example.com"))
        (mail,) = mailoutbox
        assert mail.to == [key.owner.email]
        assert "was created by eve@example.com" in mail.body
        assert secret not in mail.body


@pytest.mark.django_db
class TestFindApiKey:
    def test_finds_key_and_owner_in_one_query(self, django_assert_num_queries):
        key, secret = make_key()
        make_key()
        with django_assert_num_queries(1):
            found = find_api_key(secret=secret, at=AT)
            assert (found, found.owner.is_active) == (key, True)

    @pytest.mark.parametrize(
        "change", [lambda s: s[:-1], lambda s: s + "x", lambda s: "", lambda s: "\ud800\0"]
    )
    def test_finds_nothing_for_another_secret(self, change):
        _, secret = make_key()
        assert find_api_key(secret=change(secret), at=AT) is None

    def test_ends_at_the_instant_it_expires(self):
        expiry = AT + timedelta(hours=1)
        key, secret = make_key(expires_at=expiry)
        assert find_api_key(secret=secret, at=expiry - timedelta(microseconds=1)) == key
        assert find_api_key(secret=secret, at=expiry) is None

    @pytest.mark.parametrize("group", ["Support", "Auditor", None])
    def test_ends_with_the_group_of_its_owner(self, group):
        owner = StaffFactory(groups="Finance")
        key, secret = make_key(owner=owner)
        reading, reading_secret = make_key(owner=owner, name="reader", scopes=["credits:read"])
        assert find_api_key(secret=secret, at=AT) == key
        owner.groups.set(Group.objects.filter(name=group))
        assert find_api_key(secret=secret, at=AT) is None
        found = find_api_key(secret=reading_secret, at=AT)
        assert found == (reading if group else None)

    @pytest.mark.parametrize("lost", ["is_active", "is_staff"])
    def test_ends_with_its_owner(self, lost):
        owner = StaffFactory()
        _, secret = make_key(owner=owner)
        setattr(owner, lost, False)
        owner.save()
        assert find_api_key(secret=secret, at=AT) is None

    def test_depends_on_the_hash_key(self, settings):
        _, secret = make_key()
        settings.API_KEY_HASH_KEY += "x"
        assert find_api_key(secret=secret, at=AT) is None


@pytest.mark.django_db
class TestRotateApiKey:
    def rotate(self, key, *, at=AT, **fields):
        return rotate_api_key(key=key, actor=None, at=at, reason="once a year", **fields)

    def test_makes_a_second_key_that_may_do_the_same(self):
        old, secret = make_key(scopes=["credits:read", "credits:hold"], daily_cap=500)
        later = AT + timedelta(days=300)
        new, new_secret = self.rotate(old, at=later)
        assert (new.name, new.owner, new.scopes, new.daily_cap) == (
            old.name,
            old.owner,
            old.scopes,
            500,
        )
        assert (new.replaces, new.expires_at) == (old, later + timedelta(days=365))
        assert find_api_key(secret=secret, at=later) == old
        assert find_api_key(secret=new_secret, at=later) == new

    def test_records_both_and_tells_the_owner(self, mailoutbox):
        actor = StaffFactory()
        old, _ = make_key()
        mailoutbox.clear()
        new, _ = rotate_api_key(key=old, actor=actor, at=AT, reason="once a year")
        events = AuditEvent.objects.order_by("pk")[1:]
        assert [(e.action, e.target_id, e.actor_label, e.reason) for e in events] == [
            ("accounts.api_key.rotated", str(old.pk), actor.email, "once a year"),
            ("accounts.api_key.created", str(new.pk), actor.email, "once a year"),
        ]
        assert [mail.to for mail in mailoutbox] == [[old.owner.email]]
        assert f"It replaces {old}" in mailoutbox[0].body

    def test_refuses_a_third_live_key(self):
        old, _ = make_key()
        new, _ = self.rotate(old)
        for key in (old, new):
            with pytest.raises(Conflict):
                self.rotate(key)
        revoke_api_key(key=old, actor=None, reason="it is replaced", at=AT)
        self.rotate(new)
        assert ApiKey.objects.filter(revoked_at=None).count() == 2

    def test_makes_one_of_two_at_once(self, ledger_db):
        old, _ = make_key()
        outcomes = race(lambda: self.rotate(old), lambda: self.rotate(old))
        assert sorted(outcomes) == ["Conflict", "tuple"]

    def test_refuses_a_key_that_is_revoked_or_expired(self):
        old, _ = make_key()
        with pytest.raises(Conflict):
            self.rotate(old, at=AT + timedelta(days=365))
        revoke_api_key(key=old, actor=None, reason="it has leaked", at=AT)
        with pytest.raises(Conflict):
            self.rotate(old)

    def test_refuses_what_the_owner_may_not_lend_any_more(self):
        old, _ = make_key()
        old.owner.groups.clear()
        with pytest.raises(Conflict, match="may not do all"):
            self.rotate(old)

    def test_is_for_admins_whoever_calls_it(self):
        old, _ = make_key()
        with pytest.raises(NotPermitted):
            rotate_api_key(key=old, actor=StaffFactory(groups="Finance"), at=AT, reason="x")


@pytest.mark.django_db
class TestNoteUse:
    def use(self, secret, at, address="192.0.2.1"):
        key = find_api_key(secret=secret, at=at)
        note_use(key=key, address=address, at=at)

    def used(self):
        return ApiKey.objects.values_list("last_used_at", "last_used_address").get()

    def test_keeps_the_time_and_the_address(self):
        _, secret = make_key()
        self.use(secret, AT)
        assert self.used() == (AT, "192.0.2.1")
        self.use(secret, AT + timedelta(minutes=1), address=None)
        assert self.used() == (AT + timedelta(minutes=1), None)

    def test_writes_once_a_minute_over_all_processes(self, django_assert_num_queries):
        _, secret = make_key()
        stale = find_api_key(secret=secret, at=AT)  # as another process has read it before
        self.use(secret, AT)
        with django_assert_num_queries(1):
            self.use(secret, AT + timedelta(seconds=59), address="192.0.2.2")
        note_use(key=stale, address="192.0.2.3", at=AT + timedelta(seconds=59))
        assert self.used() == (AT, "192.0.2.1")

    def test_waits_for_nobody_who_has_the_row(self, ledger_db):
        key, _ = make_key()
        with transaction.atomic():
            ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)

            def use():
                with connection.cursor() as cursor:
                    cursor.execute("SET lock_timeout = '100ms'")
                note_use(key=key, address=None, at=AT)

            assert race(use) == ["NoneType"]
        assert self.used() == (None, None)


@pytest.mark.django_db
class TestRevokeApiKey:
    def test_ends_it_once_and_says_why(self):
        actor = StaffFactory()
        key, secret = make_key()
        revoke_api_key(key=key, actor=actor, reason="it has leaked", at=AT)
        assert find_api_key(secret=secret, at=AT) is None
        with pytest.raises(Conflict):
            revoke_api_key(key=key, actor=actor, reason="it has leaked", at=AT + timedelta(1))
        key.refresh_from_db()
        assert key.revoked_at == AT
        events = AuditEvent.objects.filter(action="accounts.api_key.revoked")
        assert [(e.actor_label, e.reason) for e in events] == [(actor.email, "it has leaked")]

    def test_is_done_by_one_of_two_at_once(self, ledger_db):
        key, _ = make_key()

        def revoke():
            return revoke_api_key(key=key, actor=None, reason="it has leaked", at=AT)

        assert sorted(race(revoke, revoke)) == ["ApiKey", "Conflict"]
        assert AuditEvent.objects.filter(action="accounts.api_key.revoked").count() == 1

    def test_tells_the_owner(self, mailoutbox):
        key, _ = make_key()
        mailoutbox.clear()
        revoke_api_key(key=key, actor=None, reason="it has leaked", at=AT)
        (mail,) = mailoutbox
        assert mail.to == [key.owner.email]
        assert "was revoked by The system" in mail.body

    def test_is_for_admins_whoever_calls_it(self):
        key, _ = make_key()
        with pytest.raises(NotPermitted):
            revoke_api_key(key=key, actor=StaffFactory(groups="Finance"), reason="x", at=AT)
