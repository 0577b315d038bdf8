import pytest
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from accounts.api.callers import caller_of, idempotency_key, is_service, subject_of, user_named
from accounts.api.permissions import HasScope, IsUser, MissingScope, StaffMay
from accounts.choices import ApiScope, StaffGroup
from accounts.models import ApiKey, User
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
        name="Service", prefix="p", digest=b"d", scopes=list(scopes), owner=owner
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


class TestIsUser:
    def test_lets_users_in_and_keys_out(self, user):
        assert IsUser().has_permission(request_by(user), None)
        assert not IsUser().has_permission(request_by(user, key_of(user, *ApiScope.values)), None)

    def test_lets_nobody_else_in(self, db):
        request = Request(APIRequestFactory().get("/"))
        assert not IsUser().has_permission(request, None)


class TestHasScope:
    def test_lets_every_user_in(self, user):
        assert HasScope(ApiScope.CREDITS_SPEND).has_permission(request_by(user), None)

    def test_lets_a_key_with_the_scope_in(self, user):
        request = request_by(user, key_of(user, ApiScope.CREDITS_SPEND))
        assert HasScope(ApiScope.CREDITS_SPEND).has_permission(request, None)

    @pytest.mark.parametrize(
        "missing", [scope for scope in ApiScope if scope != ApiScope.CREDITS_SPEND]
    )
    def test_refuses_a_key_with_other_scopes(self, user, missing):
        request = request_by(user, key_of(user, *set(ApiScope.values) - {missing}))
        with pytest.raises(MissingScope) as refusal:
            HasScope(missing).has_permission(request, None)
        assert (refusal.value.code, refusal.value.status) == ("missing_scope", 403)
        assert refusal.value.numbers == {"scope": missing}

    def test_may_ask_another_scope_of_who_only_reads(self, user):
        door = HasScope(ApiScope.CREDITS_HOLD, reading=ApiScope.CREDITS_READ)
        reader = key_of(user, ApiScope.CREDITS_READ)
        assert door.has_permission(request_by(user, reader, method="get"), None)
        with pytest.raises(MissingScope):
            door.has_permission(request_by(user, reader, method="post"), None)

    def test_lets_nobody_in_who_is_not_signed_in(self, db):
        assert not HasScope(ApiScope.CREDITS_READ).has_permission(
            Request(APIRequestFactory().get("/")), None
        )


ADJUST = StaffMay("ledger.adjust_wallet")


class TestStaffMay:
    @pytest.mark.parametrize("group", StaffGroup)
    def test_follows_the_table_of_permissions(self, db, group):
        allowed = group in (StaffGroup.ADMIN, StaffGroup.FINANCE)
        assert ADJUST.has_permission(request_by(staff(group)), None) == allowed

    def test_refuses_users_and_superusers(self, user):
        assert not ADJUST.has_permission(request_by(user), None)
        root = User.objects.create_superuser("root@example.com")
        assert not ADJUST.has_permission(request_by(root), None)

    def test_lets_a_key_in_whose_owner_may(self, db):
        request = request_by(
            finance := staff(StaffGroup.FINANCE), key_of(finance, ApiScope.CREDITS_ADMIN)
        )
        assert ADJUST.has_permission(request, None)

    def test_refuses_a_key_whose_owner_may_not(self, db):
        request = request_by(
            support := staff(StaffGroup.SUPPORT), key_of(support, ApiScope.CREDITS_ADMIN)
        )
        assert not ADJUST.has_permission(request, None)

    def test_refuses_a_key_without_the_scope(self, db):
        request = request_by(
            finance := staff(StaffGroup.FINANCE), key_of(finance, ApiScope.CREDITS_SPEND)
        )
        with pytest.raises(MissingScope):
            ADJUST.has_permission(request, None)
