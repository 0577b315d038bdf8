import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection

from accounts.models import Role, User
from accounts.services import users
from accounts.tests.factories import StaffFactory, TeamAdminFactory, UserFactory
from ledger import keys
from ledger.choices import GrantSource
from ledger.models import CreditTransaction, Grant, Wallet
from ledger.queries.wallets import wallet_of
from ledger.services.allotments import CALLER, allotment_key
from ledger.tests.factories import AT, balances_of, moves_of, spend

PASSWORD = "correct horse battery"
EMAIL = "ada@example.com"
REASON = "they asked for it"


def role(code):
    return Role.objects.get(code=code)


def greedy_role():
    """A role whose allotment the books refuse: a grant is of a thousand million at the most."""
    return Role.objects.create(code="greedy", name="Greedy", allotment=2_000_000_000)


def award_of(user):
    return balances_of(wallet_of(user))["award"]


def change_role(user, code, actor=None):
    return users.change_role(
        user=user,
        role=role(code) if code else None,
        actor=actor or StaffFactory(),
        reason=REASON,
        at=AT,
    )


def change_email(user, email):
    user.email = email
    user.save()


MADE_BY = {
    "register_user": lambda: users.register_user(email=EMAIL, password=PASSWORD, at=AT),
    "create_user of the service": lambda: users.create_user(
        email=EMAIL, name="", role=role("member"), actor=StaffFactory(), reason=REASON, at=AT
    ),
    "save": lambda: User(email=EMAIL, role=role("member")).save(),
    "create": lambda: User.objects.create(email=EMAIL, role=role("member")),
    "create_user of the manager": lambda: get_user_model().objects.create_user(
        EMAIL, PASSWORD, role=role("member")
    ),
    "get_or_create": lambda: User.objects.get_or_create(
        email=EMAIL, defaults={"role": role("member")}
    ),
}


@pytest.mark.django_db
class TestAllotOnRegistration:
    @pytest.mark.parametrize("path", MADE_BY)
    def test_awards_the_allotment_by_whatever_path_a_user_is_made(self, path):
        MADE_BY[path]()
        wallet = Wallet.objects.get(user__email=EMAIL)
        assert balances_of(wallet) == {"award": 350, "purchase": 0, "partner": 0}
        assert moves_of(wallet) == [("award", 350)]
        grant = wallet.grants.get()
        assert (grant.source, grant.expires_at, grant.paid_minor) == (
            GrantSource.ALLOTMENT,
            None,
            0,
        )

    @pytest.mark.parametrize(
        ("code", "credits"),
        [
            ("member", 350),
            ("admin", 1_000),
            ("team_admin", 5_000),
            ("recruitpro", 1_000),
            ("super_admin", 10_000),
        ],
    )
    def test_awards_what_the_role_brings(self, code, credits):
        assert award_of(UserFactory(role=role(code))) == credits

    @pytest.mark.parametrize(
        "make",
        [
            lambda: User.objects.create_superuser(EMAIL, PASSWORD),
            lambda: UserFactory(email=EMAIL, role=None),
            lambda: UserFactory(email=EMAIL, role=Role.objects.create(code="guest", name="Guest")),
        ],
    )
    def test_opens_an_empty_wallet_without_a_role_or_an_allotment(self, make):
        make()
        assert moves_of(Wallet.objects.get(user__email=EMAIL)) == []

    def test_is_by_the_system_or_by_the_staff_who_made_the_user(self):
        staff = StaffFactory()
        UserFactory(email=EMAIL)
        users.create_user(
            email="bo@example.com", name="", role=role("member"), actor=staff, reason=REASON, at=AT
        )
        made = CreditTransaction.objects.order_by("wallet").values_list("actor", "caller")
        assert list(made) == [(None, CALLER), (staff.pk, CALLER)]

    def test_awards_nothing_when_a_user_is_saved_again(self):
        user = UserFactory()
        user.name = "Another"
        user.save()
        assert moves_of(wallet_of(user)) == [("award", 350)]

    @pytest.mark.parametrize("written", ["ada@example.com", "ADA@Example.com", "ａda@example.com "])
    def test_awards_nothing_to_an_address_that_had_it_under_another_user(self, written):
        first = UserFactory(email=EMAIL)
        change_email(first, "lovelace@example.com")
        second = UserFactory(email=written)
        assert second.email == EMAIL
        assert (award_of(first), award_of(second)) == (350, 0)

    def test_uses_the_key_that_the_backfill_computes_in_sql(self):
        user = UserFactory()
        with connection.cursor() as cursor:
            cursor.execute("SELECT ledger_key('system', 'allotment:' || %s::uuid)", [user.identity])
            (key,) = cursor.fetchone()
        assert key == keys.digest(CALLER, allotment_key(user.identity))
        assert CreditTransaction.objects.get().key == key

    def test_fails_the_registration_when_it_fails(self):
        with pytest.raises(IntegrityError):
            UserFactory(email=EMAIL, role=greedy_role())
        assert not User.objects.filter(email=EMAIL).exists()
        assert not Wallet.objects.exists()


@pytest.mark.django_db
class TestAllotOnRoleChange:
    def test_posts_the_positive_difference(self):
        user, staff = UserFactory(), StaffFactory()
        change_role(user, "admin", staff)
        assert moves_of(wallet_of(user)) == [("award", 350), ("award", 650)]
        posted = CreditTransaction.objects.get(amount=650)
        assert (posted.actor, posted.caller) == (staff, CALLER)
        assert set(Grant.objects.values_list("source", flat=True)) == {GrantSource.ALLOTMENT}

    def test_gives_the_whole_allotment_to_who_had_no_role(self):
        user = UserFactory(role=None)
        change_role(user, "admin")
        assert award_of(user) == 1_000

    @pytest.mark.parametrize("code", ["member", "recruitpro", None])
    def test_takes_and_gives_nothing_when_the_new_role_brings_no_more(self, code):
        user = UserFactory(role=role("admin"))
        change_role(user, code)
        assert moves_of(wallet_of(user)) == [("award", 1_000)]

    def test_mints_nothing_by_changing_up_and_down(self):
        user = UserFactory()
        for code in ["admin", "member", "admin", "recruitpro", "member", None, "admin", "member"]:
            change_role(user, code)
        assert award_of(user) == 1_000

    def test_reaches_the_largest_allotment_by_steps_or_at_once(self):
        stepping, jumping = UserFactory(), UserFactory()
        for code in ["admin", "team_admin", "member", "team_admin"]:
            change_role(stepping, code)
        change_role(jumping, "team_admin")
        assert (award_of(stepping), award_of(jumping)) == (5_000, 5_000)

    def test_counts_what_was_allotted_not_what_is_left(self):
        user = UserFactory()
        spend(wallet_of(user), 350)
        change_role(user, "admin")
        assert award_of(user) == 650

    def test_is_once_per_identity_and_role_whoever_has_the_address(self):
        first = UserFactory(email=EMAIL)
        change_role(first, "admin")
        change_email(first, "lovelace@example.com")
        second = UserFactory(email=EMAIL)
        change_role(second, "admin")
        assert (award_of(first), award_of(second)) == (1_000, 0)

    def test_mints_nothing_by_changing_the_address_too(self):
        user = UserFactory(email=EMAIL)
        for number, code in enumerate(["admin", "member", "admin", "member", "admin"]):
            change_email(user, f"ada{number}@example.com")
            user = change_role(user, code)
        assert award_of(user) == 1_000

    def test_fails_the_change_when_it_fails(self):
        user = TeamAdminFactory()
        greedy_role()
        with pytest.raises(IntegrityError):
            change_role(user, "greedy")
        user.refresh_from_db()
        assert user.role.code == "team_admin"
        assert award_of(user) == 5_000
