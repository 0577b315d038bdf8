"""Credits switched off: what stops, what goes on, and in which order it is found out."""

from uuid import uuid4

import pytest

from ledger import errors
from ledger.choices import CreditType, TransactionKind
from ledger.queries.burn_down import forecast
from ledger.services import adjustments, holds, posting
from ledger.services.metering import UsageEvent, record_usage
from ledger.services.posting import Header
from ledger.tests.api import as_user, refused
from ledger.tests.factories import (
    AT,
    BEGINNING,
    CALLER,
    DAY,
    CustomerFactory,
    available,
    balances_of,
    close,
    finance,
    moves_of,
    nothing_changes,
    open_hold,
    place_hold,
    pool_of_team_admin,
    priced_feature,
    quantities,
    set_credit_settings,
    spend,
    transactions_of,
    wallet_with_credits,
)

BY = {"reason": "as was asked for", "caller": "user:1", "at": AT}
pytestmark = pytest.mark.django_db


def switch(*, on=False):
    set_credit_settings(credits_enabled=on)


@pytest.fixture
def wallet():
    return wallet_with_credits(award=100)


class TestWhatStops:
    def test_is_a_spend(self, wallet):
        switch()
        with nothing_changes(wallet), pytest.raises(errors.CreditsDisabled) as refusal:
            spend(wallet, 1)
        assert (refusal.value.status, refusal.value.code) == (503, "credits_disabled")

    def test_is_a_new_hold(self, wallet):
        switch()
        with nothing_changes(wallet), pytest.raises(errors.CreditsDisabled):
            place_hold(wallet, 1)

    def test_is_a_spend_from_a_pool(self):
        member = CustomerFactory()
        _, pool = pool_of_team_admin(member)
        switch()
        with nothing_changes(pool), pytest.raises(errors.CreditsDisabled):
            spend(pool, 1)

    def test_is_each_event_of_a_batch_of_usage(self, wallet):
        priced_feature("report", 1)
        other = wallet_with_credits(award=100)
        switch()
        results = record_usage(
            events=[
                UsageEvent(
                    idempotency_key=key, user_id=each.user_id, quantities=quantities(report=1)
                )
                for key, each in [("a", wallet), ("b", other)]
            ],
            caller=CALLER,
            at=AT,
        )
        told = [(result.status, result.code) for result in results]
        assert told == [("refused", "credits_disabled")] * 2
        assert (available(wallet), available(other)) == (100, 100)

    def test_is_what_a_check_says(self, wallet):
        asked = {"wallet_ids": [wallet.pk], "amount": 1, "types": None, "at": AT}
        assert forecast(**asked).code is None
        switch()
        assert forecast(**asked).code == "credits_disabled"

    def test_goes_on_once_they_are_switched_on_again(self, wallet):
        switch()
        switch(on=True)
        assert spend(wallet, 1).amount == -1
        assert place_hold(wallet, 1).held == 1


class TestWhatGoesOn:
    def test_is_a_capture(self, wallet):
        hold_id = open_hold(wallet, 10)
        switch()
        posted = holds.capture_hold(hold_id=hold_id, amount=4, caller=CALLER, at=AT, actor_id=None)
        assert (posted.amount, available(wallet)) == (-4, 96)

    def test_is_a_release(self, wallet):
        hold_id = open_hold(wallet, 10)
        switch()
        holds.release_hold(hold_id=hold_id, caller=CALLER, at=AT, actor_id=None)
        assert available(wallet) == 100

    def test_is_a_reversal(self, wallet):
        spend(wallet, 30)
        switch()
        adjustments.reverse_transaction(original=transactions_of(wallet)[-1], actor=finance(), **BY)
        assert available(wallet) == 100

    def test_is_what_staff_add_remove_and_set(self, wallet):
        actor = finance()
        switch()
        added = {"amount": 5, "credit_type": CreditType.AWARD}
        adjustments.add_credits(wallet=wallet, actor=actor, **added, **BY)
        adjustments.remove_credits(wallet=wallet, amount=20, actor=actor, **BY)
        wallet.refresh_from_db()
        adjustments.set_balances(
            wallet=wallet,
            targets={CreditType.AWARD: 3, CreditType.PURCHASE: 4},
            version=wallet.version,
            actor=actor,
            idempotency_key="k",
            **BY,
        )
        assert balances_of(wallet) == {"award": 3, "purchase": 4, "partner": 0}

    def test_is_expiry(self):
        wallet_with_credits(award=100, expires_at=AT + DAY)
        switch()
        assert posting.expire(at=AT + DAY, limit=10) == (1, 100)

    def test_is_the_debt_of_an_overrun(self, wallet):
        switch()
        posted = posting.draw(
            payers=[wallet.pk],
            amount=130,
            short="debt",
            any_status=True,
            header=Header(
                kind=TransactionKind.USAGE, at=AT, caller=CALLER, key=uuid4(), fingerprint=uuid4()
            ),
        )
        assert (posted.amount, posted.debt) == (-100, 30)


class TestOrderOfChecks:
    def test_answers_a_replay(self, wallet):
        first = spend(wallet, 10, key="k")
        held = place_hold(wallet, 10, key="h")
        switch()
        assert spend(wallet, 10, key="k").transaction_id == first.transaction_id
        assert place_hold(wallet, 10, key="h").hold_id == held.hold_id
        with pytest.raises(errors.IdempotencyKeyReused):
            spend(wallet, 11, key="k")

    def test_says_first_that_the_wallet_is_paused(self, wallet):
        adjustments.pause_wallet(wallet=wallet, reason="as asked", actor=finance(), at=AT)
        switch()
        for act in (spend, place_hold):
            with pytest.raises(errors.WalletPaused):
                act(wallet, 1)
        code = forecast(wallet_ids=[wallet.pk], amount=1, types=None, at=AT).code
        assert code == "wallet_paused"

    def test_says_it_before_the_books_are_asked(self, wallet):
        switch()
        for act in (spend, place_hold):
            with pytest.raises(errors.CreditsDisabled):
                act(wallet, 101)
        close(wallet)
        for act in (spend, place_hold):
            with pytest.raises(errors.CreditsDisabled):
                act(wallet, 1)
        code = forecast(wallet_ids=[wallet.pk], amount=1, types=None, at=AT).code
        assert code == "credits_disabled"

    def test_remembers_no_refusal(self, wallet):
        switch()
        with pytest.raises(errors.CreditsDisabled):
            spend(wallet, 10, key="k")
        switch(on=True)
        assert spend(wallet, 10, key="k").is_new
        assert moves_of(wallet)[-1] == ("usage", -10)


class TestApi:
    def test_answers_503_and_when_to_come_back(self):
        user = CustomerFactory()
        wallet_with_credits(user, award=100, at=BEGINNING)
        switch()
        caller = as_user(user)
        body = {"amount": 1, "description": "a report"}
        for path in ("credits/deduct", "credits/holds"):
            response = caller.post(path, body)
            assert refused(response) == (503, "credits_disabled")
            assert response["Retry-After"] == "60"
        checked = caller.post("credits/check", {"amount": 1}).json()
        assert (checked["allowed"], checked["code"]) == (False, "credits_disabled")
        assert caller.get("credits/balance").json()["available"] == 100
