import re
from datetime import UTC, datetime, timedelta

import pytest

from accounts.errors import InvalidFields
from accounts.models import ApiKey
from accounts.services.api_keys import create_api_key, find_api_key, revoke_api_key
from accounts.tests.factories import StaffFactory, UserFactory
from audit.models import AuditEvent
from creditsite.errors import Conflict
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

    @pytest.mark.parametrize("scope", ["credits:admin", "billing:write"])
    def test_refuses_to_lend_what_the_owner_may_not_do(self, scope):
        with pytest.raises(InvalidFields) as refusal:
            make_key(owner=StaffFactory(groups="Support"), scopes=[scope])
        assert set(refusal.value.errors) == {"owner"}
        make_key(owner=StaffFactory(groups="Finance"), scopes=[scope])


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
class TestRevokeApiKey:
    def test_ends_it_once_and_says_why(self):
        actor = UserFactory()
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
