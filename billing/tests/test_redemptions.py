"""Promotions as they are used: within their limits, whoever comes at the same instant."""

from datetime import timedelta

import pytest

from accounts.models import Role
from accounts.tests.factories import StaffFactory
from billing.choices import RedemptionStatus
from billing.errors import PromotionNotFound, PromotionRefused
from billing.models import Promotion, Redemption
from billing.queries.promotions import reduction_of, statistics_of
from billing.quotes import Item, quote
from billing.services.erasure import Uses
from billing.services.promotions import end_promotion
from billing.services.redemptions import redeem_promotion, release_promotion
from billing.tests.sale import package, promotion, quoted, redeemed_code, reserved
from creditsite.testing.races import race
from ledger.choices import GrantSource
from ledger.errors import IdempotencyKeyReused, WalletClosed
from ledger.models import Grant
from ledger.queries.wallets import wallet_of
from ledger.tests.factories import AT, CustomerFactory, balances_of, close, transactions_of

DAY = timedelta(days=1)


def paid(redemption, at=AT):
    wallet = wallet_of(redemption.user)
    return redeem_promotion(redemption=redemption, wallet=wallet, reference="pay_1", at=at)


def taken():
    return Promotion.objects.get().taken


def why(call):
    with pytest.raises(PromotionRefused) as refusal:
        call()
    return refusal.value.why


@pytest.mark.django_db
class TestReservePromotion:
    def test_keeps_what_the_quote_says(self):
        found = promotion()
        with_it = quote(Item(100, "usd", price_minor=1_000), promotion=reduction_of(found, "usd"))
        kept = reserved(found, quote=with_it)
        assert (kept.status, kept.discount_minor, kept.currency) == ("reserved", 200, "usd")
        assert taken() == 1

    def test_reserves_once_under_one_key(self):
        found, user = promotion(limit_total=1), CustomerFactory()
        assert reserved(found, user) == reserved(found, user)
        assert taken() == 1

    @pytest.mark.parametrize(
        ("terms", "asked", "reason"),
        [
            ({"starts_at": AT + DAY}, {}, "not_started"),
            ({"ends_at": AT + DAY}, {"at": AT + DAY}, "ended"),
            ({"minimum_credits": 101}, {}, "minimum"),
            ({"roles": ["member"]}, {}, "role"),
            ({"kind": "grant"}, {}, "kind"),
            ({"kind": "fixed"}, {"quote": quoted(currency="eur")}, "currency"),
        ],
    )
    def test_refuses_what_it_is_not_for(self, terms, asked, reason):
        found = promotion(**terms)
        assert why(lambda: reserved(found, **asked)) == reason
        assert (taken(), Redemption.objects.count()) == (0, 0)

    def test_is_for_its_roles_until_the_instant_it_ends(self):
        found = promotion(roles=["member"], ends_at=AT + DAY)
        member = CustomerFactory(role=Role.objects.get(code="member"))
        assert reserved(found, member, at=AT + DAY - timedelta.resolution)

    def test_is_for_its_packages_alone(self):
        package()
        found = promotion(offers=["small"])
        assert why(lambda: reserved(found)) == "package"
        assert why(lambda: reserved(found, package="large")) == "package"
        assert reserved(found, package="small")

    def test_is_not_for_staff(self):
        assert why(lambda: reserved(promotion(), StaffFactory())) == "staff"

    def test_stops_at_its_limits(self):
        found, user = promotion(limit_total=3, limit_per_user=2), CustomerFactory()
        for number in range(2):
            reserved(found, user, f"payment:{number}")
        assert why(lambda: reserved(found, user, "payment:2")) == "used"
        reserved(found, key="payment:3")
        assert why(lambda: reserved(found, key="payment:4")) == "used_up"
        assert taken() == 3

    def test_stops_when_it_was_ended(self):
        found = promotion()
        end_promotion(promotion=found, actor=None, at=AT, reason="")
        assert why(lambda: reserved(found)) == "ended"

    def test_of_eight_at_once_three_get_the_last_three(self, ledger_db):
        found = promotion(limit_total=3)
        users = [CustomerFactory() for _ in range(8)]
        outcomes = race(
            *(
                lambda n=n, user=user: reserved(found, user, f"p:{n}")
                for n, user in enumerate(users)
            )
        )
        assert sorted(outcomes) == ["PromotionRefused"] * 5 + ["Redemption"] * 3
        assert (taken(), Redemption.objects.count()) == (3, 3)

    def test_of_eight_purchases_of_one_user_at_once_one_gets_it(self, ledger_db):
        found, user = promotion(), CustomerFactory()
        outcomes = race(*(lambda n=n: reserved(found, user, f"payment:{n}") for n in range(8)))
        assert sorted(outcomes) == ["PromotionRefused"] * 7 + ["Redemption"]
        assert taken() == 1

    def test_of_four_repeats_at_once_reserves_one(self, ledger_db):
        found, user = promotion(limit_per_user=None), CustomerFactory()
        assert race(*[lambda: reserved(found, user)] * 4) == ["Redemption"] * 4
        assert (taken(), Redemption.objects.count()) == (1, 1)


@pytest.mark.django_db
class TestRedeemPromotion:
    def test_gives_the_bonus_as_an_award_once(self):
        found = promotion("bonus", expiry_days=30)
        with_it = quote(Item(100, "usd", price_minor=1_000), promotion=reduction_of(found, "usd"))
        kept = reserved(found, quote=with_it)
        for _ in range(2):
            done = paid(kept)
        wallet = wallet_of(kept.user)
        assert balances_of(wallet) == {"award": 50, "purchase": 0, "partner": 0}
        (posted,) = transactions_of(wallet)
        assert (posted.kind, posted.reference_id) == ("award", "pay_1")
        grant = Grant.objects.get(wallet=wallet)
        assert (grant.source, grant.expires_at) == (GrantSource.PROMOTION, AT + 30 * DAY)
        assert (done.status, done.grant, done.settled_at) == ("redeemed", grant, AT)

    def test_gives_no_credits_for_a_discount(self):
        kept = paid(reserved(promotion()))
        assert (kept.status, kept.grant) == ("redeemed", None)
        assert transactions_of(wallet_of(kept.user)) == []

    def test_honours_what_was_paid_after_it_was_released(self):
        found = promotion(limit_total=1)
        kept = reserved(found)
        release_promotion(redemption=kept, at=AT)
        other = reserved(found, key="payment:2")
        assert paid(kept).status == RedemptionStatus.REDEEMED
        assert taken() == 2
        assert paid(other).status == RedemptionStatus.REDEEMED
        assert taken() == 2

    def test_leaves_all_as_it_was_where_the_wallet_is_closed(self):
        found = promotion("bonus")
        with_it = quote(Item(100, "usd", price_minor=1_000), promotion=reduction_of(found, "usd"))
        kept = reserved(found, quote=with_it)
        close(wallet_of(kept.user))
        with pytest.raises(WalletClosed):
            paid(kept)
        assert Redemption.objects.get().status == RedemptionStatus.RESERVED

    def test_is_settled_once_by_whoever_comes_first(self, ledger_db):
        found = promotion("bonus")
        with_it = quote(Item(100, "usd", price_minor=1_000), promotion=reduction_of(found, "usd"))
        kept = reserved(found, quote=with_it)
        settle = [lambda: paid(kept), lambda: release_promotion(redemption=kept, at=AT)]
        assert race(*settle * 3) == ["Redemption"] * 6
        assert (taken(), Redemption.objects.get().status) == (1, RedemptionStatus.REDEEMED)
        assert balances_of(wallet_of(kept.user))["award"] == 50


@pytest.mark.django_db
class TestReleasePromotion:
    def test_frees_its_use_once(self):
        found = promotion(limit_total=1)
        kept = reserved(found)
        for _ in range(2):
            assert release_promotion(redemption=kept, at=AT).status == RedemptionStatus.RELEASED
        assert taken() == 0
        assert reserved(found, kept.user, "payment:2")

    def test_leaves_what_was_paid(self):
        kept = paid(reserved(promotion()))
        assert release_promotion(redemption=kept, at=AT).status == RedemptionStatus.REDEEMED
        assert taken() == 1


@pytest.mark.django_db
class TestRedeemCode:
    def test_gives_its_credits_once_for_an_identity(self):
        promotion("grant")
        user = CustomerFactory()
        assert redeemed_code(user, " spring ").amount == 50
        assert why(lambda: redeemed_code(user)) == "used"
        assert balances_of(wallet_of(user))["award"] == 50
        kept = Redemption.objects.get()
        assert (kept.credits, kept.grant.source) == (50, GrantSource.PROMOTION)
        assert taken() == 1

    def test_knows_a_person_by_their_address_who_was_erased(self):
        promotion("grant")
        user, email = CustomerFactory(email="a@example.com"), "a@example.com"
        redeemed_code(user)
        user.email = "erased-1@example.com"
        user.save()
        assert why(lambda: redeemed_code(CustomerFactory(email=email))) == "used"

    def test_answers_a_repeat_whatever_became_of_the_code(self):
        found, user = promotion("grant"), CustomerFactory()
        first = redeemed_code(user, idempotency_key="k")
        end_promotion(promotion=found, actor=None, at=AT, reason="")
        again = redeemed_code(user, idempotency_key="k")
        assert (again.transaction_id, again.is_new) == (first.transaction_id, False)
        promotion("grant", code="OTHER")
        with pytest.raises(IdempotencyKeyReused):
            redeemed_code(user, "OTHER", idempotency_key="k")
        assert why(lambda: redeemed_code(user, idempotency_key="l")) == "ended"

    @pytest.mark.parametrize("code", ["", "NONE", "ＳＰＲＩＮＧ", "SPRıNG", "spr%"])
    def test_does_not_know_another_code(self, code):
        promotion("grant")
        with pytest.raises(PromotionNotFound):
            redeemed_code(CustomerFactory(), code)

    @pytest.mark.parametrize("kind", ["percentage", "bonus"])
    def test_refuses_one_that_is_for_a_purchase(self, kind):
        promotion(kind)
        user = CustomerFactory()
        assert why(lambda: redeemed_code(user)) == "kind"
        assert transactions_of(wallet_of(user)) == []

    def test_refuses_staff_and_leaves_nothing(self):
        promotion("grant")
        user = StaffFactory(role=None)
        assert why(lambda: redeemed_code(user)) == "staff"
        assert (transactions_of(wallet_of(user)), taken()) == ([], 0)

    def test_refuses_a_closed_wallet(self):
        promotion("grant")
        user = CustomerFactory()
        close(wallet_of(user))
        with pytest.raises(WalletClosed):
            redeemed_code(user)

    def test_of_eight_at_once_gives_to_three_and_to_each_once(self, ledger_db):
        promotion("grant", limit_total=3)
        users = [CustomerFactory() for _ in range(4)]
        outcomes = race(*[lambda user=user: redeemed_code(user) for user in users * 2])
        assert outcomes.count("Posting") == 3
        assert outcomes.count("PromotionRefused") == 5
        given = [balances_of(wallet_of(user))["award"] for user in users]
        assert sorted(given) == [0, 50, 50, 50]
        assert taken() == 3


@pytest.mark.django_db
class TestExport:
    def test_tells_a_person_of_the_codes_that_they_used(self):
        promotion("grant")
        user = CustomerFactory()
        redeemed_code(user)
        redeemed_code(CustomerFactory())
        assert Uses().keeps(user)
        (use,) = Uses().export(user, AT)["promotions"]
        assert (use["code"], use["credits"], use["status"]) == ("SPRING", 50, "redeemed")
        assert not Uses().keeps(CustomerFactory())


@pytest.mark.django_db
class TestStatistics:
    def test_count_what_was_redeemed(self):
        found = promotion(limit_per_user=2)
        with_it = quote(Item(100, "usd", price_minor=1_000), promotion=reduction_of(found, "usd"))
        user = CustomerFactory()
        for number in range(2):
            paid(reserved(found, user, f"payment:{number}", quote=with_it))
        reserved(found, key="payment:2", quote=with_it)
        release_promotion(redemption=reserved(found, key="payment:3", quote=with_it), at=AT)
        found = statistics_of(found)
        assert (found.redeemed, found.reserved, found.released, found.users) == (2, 1, 1, 1)
        assert (found.credits, found.discounts) == (0, {"usd": 400})
