from datetime import timedelta

import pytest
from django.urls import ResolverMatch
from django.utils import timezone
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from accounts.api.callers import caller_of, idempotency_key, is_service, subject_of, user_named
from accounts.api.permissions import ByTable, MissingScope
from accounts.choices import ApiScope, StaffGroup
from accounts.models import ApiKey, User
from accounts.permissions import API, PUBLIC, USER, Door, key, staff_in_person
from accounts.permissions import staff as staff_door
from accounts.services.users import create_staff
from creditsite.errors import InvalidRequest, NotFound


@pytest.fixture
def user(db) -> User:
    return User.objects.create_user("ada@example.com")


@pytest.fixture
def other(db) -> User:
    return User.objects.create_user("bob@example.com")


def staff(group: StaffGroup) -> User:
    return create_staff(
        email=f"{group}@example.com",
        password="correct horse battery staple",
        groups=[group],
        actor=None,
        at=timezone.now(),
        reason="Test",
    )


def key_of(owner: User, *scopes: str) -> ApiKey:
    return ApiKey.objects.create(
        name="Service",
        prefix="p",
        digest=b"d",
        scopes=list(scopes),
        owner=owner,
        expires_at=timezone.now() + timedelta(days=1),
    )


def request_by(
    user: User, auth: ApiKey | None = None, *, method: str = "post", **headers: str
) -> Request:
    request = Request(getattr(APIRequestFactory(), method)("/", **headers))
    request.user, request.auth = user, auth
    return request


class TestCallerOf:
    def test_names_a_user(self, user):
        assert caller_of(request_by(user)) == f"user:{user.pk}"
        assert not is_service(request_by(user))

    def test_names_a_key_and_not_its_owner(self, user):
        key = key_of(user)
        assert caller_of(request_by(user, key)) == f"key:{key.pk}"
        assert is_service(request_by(user, key))


class TestIdempotencyKey:
    @pytest.mark.parametrize("key", ["a", "!", "~" * 255, '"quoted"', "a,b"])
    def test_returns_the_key_to_the_letter(self, user, key):
        assert idempotency_key(request_by(user, HTTP_IDEMPOTENCY_KEY=key)) == key

    @pytest.mark.parametrize(
        "key", ["", " ", "a b", "a" * 256, "é", "a\x00", "a\n", "\u202e", "１"]
    )
    def test_refuses_other_keys(self, user, key):
        with pytest.raises(InvalidRequest, match="1 to 255 visible ASCII"):
            idempotency_key(request_by(user, HTTP_IDEMPOTENCY_KEY=key))

    def test_may_be_left_out_by_a_user(self, user):
        assert idempotency_key(request_by(user)) is None

    def test_may_not_be_left_out_by_a_service(self, user):
        key = key_of(user)
        with pytest.raises(InvalidRequest, match="must send the header Idempotency-Key"):
            idempotency_key(request_by(user, key))
        assert idempotency_key(request_by(user, key, HTTP_IDEMPOTENCY_KEY="k")) == "k"


class TestSubjectOf:
    def test_is_the_caller(self, user):
        assert subject_of(request_by(user), None) == user
        assert subject_of(request_by(user), user.pk) == user

    def test_is_not_somebody_else(self, user, other):
        for user_id in (other.pk, 0, 2**63 - 1):
            with pytest.raises(NotFound):
                subject_of(request_by(user), user_id)

    def test_is_whom_a_service_names(self, user, other):
        assert subject_of(request_by(user, key_of(user)), other.pk) == other

    def test_must_be_active(self, user, other):
        User.objects.filter(pk=other.pk).update(is_active=False)
        with pytest.raises(NotFound):
            subject_of(request_by(user, key_of(user)), other.pk)

    def test_must_be_named_by_a_service(self, user):
        with pytest.raises(InvalidRequest, match="user_id"):
            subject_of(request_by(user, key_of(user)), None)

    def test_must_exist(self, user):
        with pytest.raises(NotFound):
            subject_of(request_by(user, key_of(user)), 2**63 - 1)


class TestUserNamed:
    def test_returns_the_user_or_refuses(self, user):
        assert user_named(user.pk) == user
        with pytest.raises(NotFound):
            user_named(2**63 - 1)


@pytest.fixture
def ask(monkeypatch):
    """Return a function that asks whether a door of its own lets a request in."""

    def lets_in(door: Door, request: Request, method: str = "POST") -> bool:
        monkeypatch.setitem(API, "/api/things/{thing_id}", {method: door})
        request._request.resolver_match = ResolverMatch(
            lambda: None, (), {}, route="api/things/<int:thing_id>"
        )
        return ByTable().has_permission(request, None)

    return lets_in


READ = key(ApiScope.CREDITS_READ)
ADJUST = staff_door("ledger.adjust_wallet")


class TestByTable:
    def test_lets_anybody_in_where_the_door_is_public(self, ask):
        assert ask(PUBLIC, Request(APIRequestFactory().post("/")))

    @pytest.mark.parametrize("door", [USER, READ, ADJUST])
    def test_lets_nobody_in_elsewhere_who_is_not_signed_in(self, ask, db, door):
        assert not ask(door, Request(APIRequestFactory().post("/")))

    def test_lets_users_in_and_keys_out(self, ask, user):
        assert ask(USER, request_by(user))
        assert not ask(USER, request_by(user, key_of(user, *ApiScope.values)))

    def test_lets_a_key_with_the_scope_in(self, ask, user):
        assert ask(READ, request_by(user))
        assert ask(READ, request_by(user, key_of(user, ApiScope.CREDITS_READ)))

    @pytest.mark.parametrize("missing", ApiScope)
    def test_refuses_a_key_with_other_scopes(self, ask, user, missing):
        request = request_by(user, key_of(user, *set(ApiScope.values) - {missing}))
        with pytest.raises(MissingScope) as refusal:
            ask(key(missing), request)
        assert (refusal.value.code, refusal.value.status) == ("missing_scope", 403)
        assert refusal.value.numbers == {"scope": missing}

    @pytest.mark.parametrize("group", StaffGroup)
    def test_follows_the_table_of_permissions(self, ask, db, group):
        allowed = group in (StaffGroup.ADMIN, StaffGroup.FINANCE)
        assert ask(ADJUST, request_by(staff(group))) == allowed

    def test_refuses_users_and_superusers(self, ask, user):
        assert not ask(ADJUST, request_by(user))
        assert not ask(ADJUST, request_by(User.objects.create_superuser("root@example.com")))

    def test_lets_a_key_in_whose_owner_may(self, ask, db):
        finance = staff(StaffGroup.FINANCE)
        assert ask(ADJUST, request_by(finance, key_of(finance, ApiScope.CREDITS_ADMIN)))

    def test_refuses_a_key_whose_owner_may_not(self, ask, db):
        support = staff(StaffGroup.SUPPORT)
        assert not ask(ADJUST, request_by(support, key_of(support, ApiScope.CREDITS_ADMIN)))

    def test_refuses_a_key_without_the_scope(self, ask, db):
        finance = staff(StaffGroup.FINANCE)
        with pytest.raises(MissingScope):
            ask(ADJUST, request_by(finance, key_of(finance, ApiScope.CREDITS_SPEND)))

    def test_refuses_every_key_where_staff_must_come_in_person(self, ask, db):
        finance = staff(StaffGroup.FINANCE)
        door = staff_in_person("ledger.adjust_wallet")
        assert ask(door, request_by(finance))
        assert not ask(door, request_by(finance, key_of(finance, *ApiScope.values)))

    def test_takes_head_for_get(self, ask, user):
        assert ask(USER, request_by(user, method="head"), method="GET")

    def test_knows_no_method_that_is_not_listed(self, ask, user):
        with pytest.raises(MethodNotAllowed):
            ask(USER, request_by(user, method="delete"))
        with pytest.raises(MethodNotAllowed):
            ask(PUBLIC, Request(APIRequestFactory().delete("/")))
        assert not ask(USER, Request(APIRequestFactory().delete("/")))

    def test_is_shut_where_the_table_is_silent(self, user):
        request = request_by(user)
        request._request.resolver_match = ResolverMatch(lambda: None, (), {}, route="api/new")
        assert not ByTable().has_permission(request, None)
