"""Many at once: no credit is spent twice, no key has two effects, and nobody waits in a circle."""

from collections import Counter
from random import Random

import pytest

from creditsite.testing import race
from ledger import keys
from ledger.choices import CreditType, GrantSource
from ledger.errors import AlreadyReversed, HoldNotOpen
from ledger.models import CreditTransaction, Hold
from ledger.services import posting
from ledger.services.posting import DrawRequest
from ledger.tests.books import (
    HOUR,
    START,
    award,
    buy,
    header,
    hold,
    kinds_of,
    new_wallet,
    new_wallets,
    reverse,
    settle,
    shown,
    spend,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("ledger_db")]


class TestSpendsOfOneWallet:
    def test_take_exactly_the_balance(self) -> None:
        wallet = new_wallet()
        award(wallet, 40)

        def spend_often() -> None:
            for _ in range(3):
                spend(wallet, 1)

        outcomes = Counter(race(*[spend_often] * 64))
        assert outcomes.keys() <= {"NoneType", "InsufficientCredits"}
        assert outcomes["InsufficientCredits"] >= 64 - 40 // 3
        assert shown(wallet)["award"] == 0
        assert kinds_of(wallet)[1:] == [("usage", -1)] * 40
        numbers = CreditTransaction.objects.filter(wallet=wallet).order_by("number")
        assert list(numbers.values_list("number", flat=True)) == list(range(1, 42))

    def test_and_holds_never_share_a_credit(self) -> None:
        wallet = new_wallet()
        award(wallet, 20)
        outcomes = Counter(race(*[lambda: spend(wallet, 1), lambda: hold(wallet, 1)] * 20))
        assert outcomes["InsufficientCredits"] == 20
        assert outcomes["Posting"] + outcomes["UUID"] == 20
        assert shown(wallet)["award"] == shown(wallet)["held"] == outcomes["UUID"]


class TestOneKey:
    def test_has_one_effect_from_fifty_threads(self) -> None:
        wallet = new_wallet()
        award(wallet, 1000)
        outcomes = race(*[lambda: spend(wallet, 7, key="job")] * 50)
        assert set(outcomes) == {"Posting"}
        assert kinds_of(wallet) == [("award", 1000), ("usage", -7)]

    def test_has_one_effect_on_whatever_wallets(self) -> None:
        wallets = new_wallets(10)
        for wallet in wallets:
            award(wallet, 1000)
        outcomes = race(*[lambda w=w: spend(w, 7, key="job") for w in wallets for _ in range(5)])
        assert set(outcomes) == {"Posting"}
        assert CreditTransaction.objects.filter(kind="usage").count() == 1

    def test_posts_one_grant(self) -> None:
        wallet = new_wallet()
        assert set(race(*[lambda: award(wallet, 10, key="gift")] * 20)) == {"Posting"}
        assert shown(wallet)["award"] == 10

    def test_posts_one_grant_to_whatever_wallets(self) -> None:
        wallets = new_wallets(10)

        def post(wallet: int) -> object:
            gift = header("award", key="gift", request="gift")
            return posting.post_grant(
                wallet=wallet,
                amount=10,
                credit_type=CreditType.AWARD,
                source=GrantSource.MANUAL,
                header=gift,
            )

        outcomes = race(*[lambda w=w: post(w) for w in wallets for _ in range(3)])
        assert set(outcomes) == {"Posting"}
        assert CreditTransaction.objects.count() == 1

    def test_places_one_hold_or_pays_once(self) -> None:
        wallet = new_wallet()
        award(wallet, 1000)

        def place() -> object:
            return posting.place_hold(
                payers=[wallet],
                amount=5,
                expires_at=START + HOUR,
                header=header("usage", key="job", request="hold"),
            )

        outcomes = Counter(race(*[place, lambda: spend(wallet, 5, key="job")] * 10))
        assert outcomes == {"Posting": 10, "IdempotencyKeyReused": 10}
        figures = shown(wallet)
        assert (figures["held"] == 5) != (figures["award"] == 995)

    def test_in_several_batches_has_one_effect(self) -> None:
        wallets = new_wallets(20)
        for wallet in wallets:
            award(wallet, 1000)
        outcomes = race(*[lambda seed=seed: draw_batch(wallets, "same", seed) for seed in range(8)])
        assert set(outcomes) == {"list"}
        assert CreditTransaction.objects.filter(kind="usage").count() == 20


class TestBatches:
    def test_take_wallets_in_any_order_without_a_deadlock(self) -> None:
        wallets = new_wallets(30)
        for wallet in wallets:
            award(wallet, 1000)
        batches = [lambda seed=seed: work(wallets, seed) for seed in range(12)]
        assert set(race(*batches)) == {"NoneType"}
        assert CreditTransaction.objects.filter(kind="usage").count() == 12 * 4 * 30

    def test_and_sweeps_do_not_wait_for_each_other_in_a_circle(self) -> None:
        wallets = new_wallets(20)
        for wallet in wallets:
            award(wallet, 10, expires_at=START + HOUR)
            award(wallet, 1000)
            hold(wallet, 5, until=START + HOUR)
        later = START + HOUR
        outcomes = race(
            *[lambda: posting.expire(at=later, limit=100)] * 3,
            *[lambda: posting.release_expired_holds(at=later, limit=100)] * 3,
            *[lambda seed=seed: work(wallets, seed) for seed in range(4)],
        )
        assert set(outcomes) == {"tuple", "int", "NoneType"}
        assert {shown(wallet, later)["held"] for wallet in wallets} == {0}
        assert CreditTransaction.objects.filter(kind="expiry").count() >= 20


class TestAReversal:
    def test_raced_puts_back_once(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        usage = spend(wallet, 10)
        outcomes = Counter(race(*[lambda: reverse(usage)] * 10))
        assert outcomes == {"Posting": 1, AlreadyReversed.__name__: 9}
        assert shown(wallet)["award"] == 10


class TestAHold:
    def test_raced_by_captures_and_releases_ends_once(self) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        job = hold(wallet, 10)
        outcomes = Counter(race(*[lambda: settle(job, None), lambda: settle(job, 0)] * 8))
        assert outcomes == {"Posting": 1, HoldNotOpen.__name__: 15}
        ended = Hold.objects.get(pk=job)
        assert (ended.captured, ended.released) in {(10, 0), (0, 10)}
        assert shown(wallet)["award"] == ended.released


class TestPurchases:
    def test_raced_repay_a_debt_once(self) -> None:
        wallet = new_wallet()
        spend(wallet, 50, short="debt")
        race(*[lambda: buy(wallet, 20, 100)] * 10)
        assert shown(wallet) == {"award": 0, "partner": 0, "purchase": 150, "held": 0, "debt": 0}


def work(wallets: list[int], seed: int) -> None:
    for number in range(4):
        answers = draw_batch(wallets, f"{seed} {number}", seed + number)
        assert {answer.outcome for answer in answers} == {"done"}


def draw_batch(wallets: list[int], name: str, seed: int) -> list[posting.Posting]:
    """Draw one credit from each wallet in an order of its own; some batches name one twice."""
    order = Random(seed).sample(wallets, len(wallets))
    requests = [
        DrawRequest(
            wallet_id=wallet,
            amount=1,
            key=keys.digest("key:1", f"{name} {wallet}"),
            fingerprint=keys.fingerprint("batch"),
        )
        for wallet in order
    ]
    if seed % 2:  # Named twice, with the same key: a repeat, and one after the other.
        requests.append(requests[0])
        return posting.draw_many(requests=requests, header=header("usage"))[:-1]
    return posting.draw_many(requests=requests, header=header("usage"))
