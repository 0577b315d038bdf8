"""One request and many at once are answered alike: the same rules, written twice for speed."""

from contextlib import suppress
from random import Random
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from creditsite.errors import CreditsiteError
from ledger import keys
from ledger.choices import CreditType
from ledger.errors import InsufficientCredits
from ledger.models import CreditTransaction, Grant, Wallet
from ledger.services import posting
from ledger.services.posting import DrawRequest, Header, Posting
from ledger.tests.books import (
    HOUR,
    START,
    award,
    buy,
    grant_of,
    header,
    hold,
    new_wallets,
    partner,
)
from ledger.tests.factories import set_credit_settings

WALLETS = 4
GIVE = [award, partner, lambda wallet, amount, **more: buy(wallet, amount, 100, **more)]
OUTCOMES = {
    "InsufficientCredits": "insufficient",
    "WalletPaused": "paused",
    "CreditsDisabled": "switched_off",
    "WalletClosed": "closed",
    "WalletNotFound": "unknown",
    "IdempotencyKeyReused": "conflict",
    "NothingToTake": "nothing",
}


def furnish(wallet: int, random: Random) -> None:
    """Put some grants in a wallet, of any type, life, priority and state."""
    for _ in range(random.randint(0, 4)):
        lifetime = random.choice([None, None, HOUR, 3 * HOUR])
        posted = random.choice(GIVE)(
            wallet,
            random.randint(1, 30),
            expires_at=lifetime and START + lifetime,
            priority=random.choice([100, 100, 50]),
        )
        if random.random() < 0.15:
            posting.freeze(grants=[grant_of(posted)], frozen=True, at=START)
    with suppress(InsufficientCredits):
        hold(wallet, random.randint(1, 20), until=START + 9 * HOUR)
    status = random.choice(["active", "active", "active", "paused", "closed"])
    posting.set_status(wallet=wallet, expected="active", status=status)


def requests_of(wallets: list[int], twin: str, random: Random) -> list[DrawRequest]:
    """A request to each wallet, one of them unknown; some under keys that were used before."""
    requests = []
    for position, wallet in enumerate([*wallets, 0]):
        amount, old = random.randint(1, 40), random.choice(["", "", "", "same", "other"])
        requests.append(
            DrawRequest(
                wallet_id=wallet,
                amount=amount,
                key=keys.digest("key:1", f"{twin} {'old' if old else 'new'} {position}"),
                fingerprint=keys.fingerprint("old" if old == "same" else "new"),
                purchased_only=random.random() < 0.2,
                feature=random.choice([None, "report"]),
                reference_id=random.choice([None, "a job"]),
            )
        )
    return requests


def answer_of(posted: Posting, wallets: list[int]) -> tuple[object, ...]:
    place = wallets.index(posted.wallet_id) if posted.wallet_id in wallets else None
    moved = (posted.number, posted.amount, posted.debt, posted.balance_after, posted.recorded_at)
    return (posted.outcome, place, *moved)


def books_of(wallets: list[int]) -> list[object]:
    state: list[object] = []
    for wallet in wallets:
        figures = Wallet.objects.filter(pk=wallet).values_list(
            "award", "partner", "purchase", "held", "version", "changed_at"
        )
        grants = Grant.objects.filter(wallet=wallet).order_by("id")
        transactions = CreditTransaction.objects.filter(wallet=wallet).order_by("number")
        entries = [
            list(
                t.entries.order_by("position").values_list(
                    "position", "credit_type", "amount", "grant__amount"
                )
            )
            for t in transactions
        ]
        texts = (
            "kind",
            "amount",
            "award",
            "partner",
            "purchase",
            "feature",
            "reference_id",
            "caller",
        )
        state.append(
            [
                list(figures),
                list(grants.values_list("remaining", "consumed")),
                list(transactions.values_list(*texts)),
                entries,
            ]
        )
    return state


def use_key(wallet: int, name: str) -> None:
    """Let ``name`` have paid for something already."""
    old = header("usage", key=name)
    with suppress(InsufficientCredits):
        posting.draw(payers=[wallet], amount=1, header=again(old), any_status=True)


def again(old: Header) -> Header:
    return old._replace(fingerprint=keys.fingerprint("old"))


def draw_one(request: DrawRequest, shared: Header, **how: Any) -> Posting | CreditsiteError:
    """Ask for one of many by itself."""
    if request.purchased_only:
        accepted = how["types"] or list(CreditType)
        how["types"] = [type for type in accepted if type == CreditType.PURCHASE]
    own = {"key": request.key, "fingerprint": request.fingerprint}
    own |= {"feature": request.feature or "", "reference_id": request.reference_id or ""}
    try:
        return posting.draw(
            payers=[request.wallet_id],
            amount=request.amount,
            header=shared._replace(**own),
            **how,
        )
    except CreditsiteError as refusal:
        return refusal


def agree_for(seen: set[str], seed: int, **how: Any) -> None:
    """Furnish twin wallets from a seed, ask both the same, compare answers and books."""
    with transaction.atomic():
        twins = {}
        for twin in ("one", "many"):
            random = Random(seed)
            wallets = twins[twin] = new_wallets(WALLETS)
            for wallet in wallets:
                furnish(wallet, random)
            for position, wallet in enumerate(random.sample(wallets, WALLETS)):
                use_key(wallet, f"{twin} old {position}")
        set_credit_settings(credits_enabled=Random(seed).random() < 0.8)
        at = START + Random(seed).choice([0, 1, 2]) * HOUR
        many = requests_of(twins["many"], "many", Random(seed))
        shared = header("usage", at)
        answers = posting.draw_many(requests=many, header=shared, **how)
        one = requests_of(twins["one"], "one", Random(seed))
        for request, answer in zip(one, answers, strict=True):
            expected = draw_one(request, shared, **how)
            if isinstance(expected, Posting):
                seen.add(answer.outcome)
                assert answer_of(answer, twins["many"]) == answer_of(expected, twins["one"])
            else:
                assert answer.outcome == OUTCOMES[type(expected).__name__]
                if isinstance(expected, InsufficientCredits):
                    assert answer.available == expected.available
                seen.add(answer.outcome)
        assert books_of(twins["many"]) == books_of(twins["one"])
        transaction.set_rollback(True)


@pytest.mark.django_db
class TestDrawOneAndDrawMany:
    def test_answer_alike(self) -> None:
        seen: set[str] = set()

        @given(
            seed=st.integers(0, 2**32),
            short=st.sampled_from(["refuse", "take"]),
            any_status=st.booleans(),
            types=st.sampled_from([None, None, [CreditType.AWARD, CreditType.PARTNER]]),
        )
        @settings(
            max_examples=60,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def agree(seed: int, **how: Any) -> None:
            agree_for(seen, seed, **how)

        agree()
        assert seen == {"done", "replayed", *OUTCOMES.values()}
