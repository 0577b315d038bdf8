"""What registering brings besides the role's allotment: sign-up credits, and a referrer's."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import IntegrityError

from accounts.models import Role, User
from accounts.services import users
from accounts.tests.factories import StaffFactory, UserFactory
from creditsite.testing.races import race
from ledger.choices import GrantSource, ReferralOutcome, SignUpFrequency
from ledger.models import CreditTransaction, Grant, Referral
from ledger.queries.wallets import wallet_of
from ledger.services import adjustments, posting
from ledger.tests.factories import (
    AT,
    DAY,
    CustomerFactory,
    balances_of,
    close,
    moves_of,
    set_credit_settings,
)
from ledger.tests.test_allotments import EMAIL, MADE_BY, change_email

MONTHLY = {"sign_up_credits": 40, "sign_up_frequency": SignUpFrequency.MONTHLY}


def registered(at: datetime = AT, **fields) -> User:
    """Somebody new, whose role brings nothing by itself."""
    return CustomerFactory(date_joined=at, **fields)


def grants_of(user: User, source: GrantSource) -> list[int]:
    grants = Grant.objects.filter(wallet__user=user, source=source).order_by("effective_at", "pk")
    return list(grants.values_list("amount", flat=True))


def signed_up(user: User) -> list[int]:
    return grants_of(user, GrantSource.SIGN_UP)


def earned(user: User) -> list[int]:
    return grants_of(user, GrantSource.REFERRAL)


def outcomes() -> list[str]:
    return list(Referral.objects.order_by("pk").values_list("outcome", flat=True))


@pytest.mark.django_db
class TestSignUpCredits:
    def test_are_none_by_default(self):
        user = registered()
        assert moves_of(wallet_of(user)) == []

    @pytest.mark.parametrize("path", MADE_BY)
    def test_come_on_top_of_the_allotment_by_whatever_path_a_user_is_made(self, path):
        set_credit_settings(sign_up_credits=25)
        MADE_BY[path]()
        wallet = wallet_of(User.objects.get(email=EMAIL))
        assert moves_of(wallet) == [("award", 350), ("award", 25)]

    def test_say_what_they_are(self):
        set_credit_settings(sign_up_credits=25, award_expiry_days=30)
        user = registered()
        given = CreditTransaction.objects.get(wallet__user=user)
        assert (given.description, given.caller, given.actor) == ("Sign-up credits", "system", None)
        grant = Grant.objects.get(wallet__user=user)
        assert (grant.source, grant.credit_type) == (GrantSource.SIGN_UP, "award")
        assert (grant.effective_at, grant.expires_at) == (AT, AT + 30 * DAY)

    def test_are_those_of_the_settings_in_force_at_that_instant(self):
        set_credit_settings(sign_up_credits=25)
        set_credit_settings(sign_up_credits=70, changed_at=AT)
        early, late = registered(AT - timedelta(microseconds=1)), registered(AT)
        assert (signed_up(early), signed_up(late)) == ([25], [70])

    def test_are_not_for_staff(self):
        set_credit_settings(sign_up_credits=25)
        assert signed_up(StaffFactory()) == []

    def test_name_the_staff_who_made_the_user(self):
        set_credit_settings(sign_up_credits=25)
        staff = StaffFactory()
        users.create_user(email=EMAIL, name="", role=None, actor=staff, reason="test", at=AT)
        assert CreditTransaction.objects.get().actor == staff

    @pytest.mark.parametrize("frequency", SignUpFrequency)
    def test_come_once_to_an_identity_whoever_has_the_address(self, frequency):
        set_credit_settings(sign_up_credits=25, sign_up_frequency=frequency)
        first = registered(email=EMAIL)
        change_email(first, "lovelace@example.com")
        second = registered(email="ADA@example.com ")
        assert (signed_up(first), signed_up(second)) == ([25], [])

    def test_come_to_an_identity_again_in_another_month_only_if_monthly(self):
        for terms, again in [(MONTHLY, [40]), ({"sign_up_frequency": SignUpFrequency.ONCE}, [])]:
            set_credit_settings(**terms)
            email = f"{terms['sign_up_frequency']}@example.com"
            change_email(registered(email=email), f"was-{email}")
            assert signed_up(registered(AT + 30 * DAY, email=email)) == again

    def test_fail_the_registration_when_they_fail(self):
        set_credit_settings(sign_up_credits=2_000_000_000)
        with pytest.raises(IntegrityError):
            registered(email=EMAIL)
        assert not User.objects.filter(email=EMAIL).exists()


@pytest.mark.django_db
class TestReferral:
    @pytest.fixture
    def referrer(self):
        set_credit_settings(referral_credits=30, referral_monthly_limit=2)
        return registered(email="referrer@example.com")

    def test_is_off_by_default(self):
        referrer = registered()
        registered(referrer=referrer)
        assert (earned(referrer), outcomes()) == ([], [])

    def test_is_awarded_to_the_referrer_when_the_referred_registers(self, referrer):
        set_credit_settings(award_expiry_days=7)
        user = users.register_user(
            email=EMAIL,
            password="correct horse battery",
            referral_code=referrer.referral_code.lower(),
            at=AT,
        )
        assert (earned(referrer), earned(user)) == ([30], [])
        referral = Referral.objects.get()
        assert (referral.referrer, referral.referred, referral.credits) == (referrer, user, 30)
        assert (referral.outcome, referral.period) == (ReferralOutcome.AWARDED, date(2026, 6, 1))
        assert Grant.objects.get(wallet__user=referrer).expires_at == AT + 7 * DAY

    def test_stops_at_the_limit_of_the_month_and_shows_it(self, referrer):
        for _ in range(3):
            registered(referrer=referrer)
        other = registered()
        registered(referrer=other)
        assert (earned(referrer), earned(other)) == ([30, 30], [30])
        assert outcomes() == ["awarded", "awarded", "over_limit", "awarded"]
        registered(AT + 30 * DAY, referrer=referrer)
        assert earned(referrer) == [30] * 3

    def test_counts_months_of_the_business_time_zone(self, referrer):
        set_credit_settings(time_zone="Pacific/Chatham", referral_monthly_limit=1)
        begins = datetime(2026, 6, 30, 11, 15, tzinfo=UTC)  # July in Chatham.
        for at in [begins - DAY, begins - timedelta(microseconds=1), begins]:
            registered(at, referrer=referrer)
        assert outcomes() == ["awarded", "over_limit", "awarded"]
        periods = Referral.objects.order_by("pk").values_list("period", flat=True)
        assert list(periods) == [date(2026, 6, 1), date(2026, 6, 1), date(2026, 7, 1)]

    def test_is_awarded_once_for_an_identity(self, referrer):
        change_email(registered(email=EMAIL, referrer=referrer), "lovelace@example.com")
        registered(email=EMAIL, referrer=referrer)
        assert (earned(referrer), outcomes()) == ([30], ["awarded", "known"])

    @pytest.mark.parametrize(
        "terms",
        [{"sign_up_credits": 5}, {"role": "member"}, MONTHLY],
        ids=["once", "role", "monthly"],
    )
    def test_is_none_for_an_address_that_was_the_referrers_own(self, referrer, terms):
        role = terms.get("role") and Role.objects.get(code=terms["role"])
        set_credit_settings(**{name: value for name, value in terms.items() if name != "role"})
        myself = registered(email=EMAIL, role=role)
        change_email(myself, "lovelace@example.com")
        registered(email=EMAIL, role=role, referrer=myself)
        assert (earned(myself), outcomes()) == ([], ["own_address"])

    def test_is_none_for_who_is_inactive_or_whose_wallet_is_closed(self, referrer):
        inactive = registered(is_active=False)
        close(wallet_of(referrer))
        for each in (inactive, referrer):
            registered(referrer=each)
            assert earned(each) == []
        assert outcomes() == ["not_active", "not_active"]

    def test_comes_to_a_paused_wallet(self, referrer):
        wallet = wallet_of(referrer)
        adjustments.pause_wallet(wallet=wallet, reason="under review", actor=StaffFactory(), at=AT)
        registered(referrer=referrer)
        assert earned(referrer) == [30]

    def test_keeps_to_the_limit_when_many_register_at_once(self, ledger_db):
        set_credit_settings(referral_credits=30, referral_monthly_limit=2)
        referrer = registered()
        made = race(*[lambda: UserFactory(referrer=referrer, date_joined=AT) for _ in range(6)])
        assert made == ["User"] * 6
        assert earned(referrer) == [30, 30]
        assert sorted(outcomes()) == ["awarded"] * 2 + ["over_limit"] * 4
        assert balances_of(wallet_of(referrer))["award"] == 60

    def test_locks_no_wallet_while_it_is_off(self, ledger_db):
        referrer = registered()
        posting.open_wallets(users=[referrer.pk])
        assert race(lambda: UserFactory(referrer=referrer)) == ["User"]
        assert outcomes() == []
