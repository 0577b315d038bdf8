from datetime import timedelta
from uuid import UUID

import pytest

from accounts.tests.factories import TeamFactory
from creditsite.testing.races import race
from ledger.models import CreditTransaction
from ledger.queries.wallets import payers_of, wallet_of
from ledger.services.adjustments import pause_wallet
from ledger.services.charges import charge_for, price_list
from ledger.services.features import change_feature
from ledger.services.metering import UsageEvent, record_usage
from ledger.tests.factories import (
    AT,
    CALLER,
    DAY,
    HOUR,
    CustomerFactory,
    available,
    bulk_created,
    catalogue,
    finance,
    moves_of,
    only,
    place_hold,
    pool_of_team_admin,
    price_of,
    priced_feature,
    quantities,
    seat,
    spend,
    transactions_of,
    wallet_with_credits,
)


def event(key, user, *, reference_id="", occurred_at=None, **used):
    return UsageEvent(
        idempotency_key=key,
        user_id=getattr(user, "pk", user),
        quantities=quantities(**(used or {"report": 1})),
        reference_id=reference_id,
        occurred_at=occurred_at,
    )


def record(*events, caller=CALLER, at=AT):
    """What came of each event, as (key, status, code)."""
    results = record_usage(events=events, caller=caller, at=at)
    for result in results:
        assert isinstance(result.transaction_id, UUID) == (result.status != "refused")
    return [(result.idempotency_key, result.status, result.code) for result in results]


def customer(**credits):
    user = CustomerFactory()
    return user, wallet_with_credits(user, **credits)


@pytest.mark.django_db
class TestRecordUsage:
    def test_charges_each_event_to_the_wallet_of_its_user(self):
        catalogue()
        (ada, hers), (bob, his) = customer(award=100), customer(purchase=100)
        assert record(event("1", ada), event("2", bob, llm_input=2_000, llm_output=350)) == [
            ("1", "charged", None),
            ("2", "charged", None),
        ]
        assert (moves_of(hers)[-1], moves_of(his)[-1]) == (("usage", -40), ("usage", -4))

    def test_books_an_event_as_the_spend_of_the_same(self):
        catalogue()
        used = {"llm_input": 45_000, "llm_output": 9_000}
        facts = {"reference_id": "r-7", "occurred_at": AT - DAY}
        (ada, hers), (bob, his), (eve, _) = [customer(award=50, purchase=50) for _ in range(3)]
        record(event("1", ada, **facts, **used), event("2", eve))
        charge = charge_for(quantities(**used), at=AT - DAY)
        spend(payers_of(bob), charge, key="3", actor_id=bob.pk, **facts)
        own = {"id", "wallet_id", "key", "fingerprint", "text_salt", "text_digest", "actor_id"}
        booked = [
            CreditTransaction.objects.filter(wallet=wallet).values().get(number=3)
            for wallet in (hers, his)
        ]
        told, spent = ({k: v for k, v in row.items() if k not in own} for row in booked)
        assert told == spent
        assert (told["amount"], told["award"], told["caller"]) == (-72, -50, CALLER)

    def test_answers_in_the_order_of_the_events(self):
        catalogue()
        member = CustomerFactory()
        pool_of_team_admin(member)
        users = [customer(award=40)[0], member, customer()[0], customer(award=40)[0], member]
        assert record(*[event(str(n), user) for n, user in enumerate(users)]) == [
            ("0", "charged", None),
            ("1", "charged", None),
            ("2", "refused", "insufficient_credits"),
            ("3", "charged", None),
            ("4", "charged", None),
        ]

    def test_lets_no_bad_event_harm_another(self):
        catalogue()
        good, poor, paused = customer(award=80), customer(award=39), customer(award=100)
        pause_wallet(wallet=paused[1], reason="test", actor=finance(), at=AT)
        spend(good[1], 1, key="taken")
        place_hold(good[1], 1, key="held")
        assert record(
            event("0", good[0], llm_input=1),
            event("1", good[0], nothing=1),
            event("2", poor[0]),
            event("3", paused[0]),
            event("4", 999_999),
            event("5", good[0], llm_input=0),
            event("6", good[0], llm_input="0.0000001"),
            event("taken", good[0]),
            event("held", good[0]),
            event("7", good[0]),
        ) == [
            ("0", "charged", None),
            ("1", "refused", "invalid_request"),
            ("2", "refused", "insufficient_credits"),
            ("3", "refused", "wallet_paused"),
            ("4", "refused", "not_found"),
            ("5", "refused", "invalid_request"),
            ("6", "refused", "invalid_request"),
            ("taken", "refused", "idempotency_key_reused"),
            ("held", "refused", "idempotency_key_reused"),
            ("7", "charged", None),
        ]
        assert available(good[1]) == 80 - 1 - 1 - 1 - 40
        assert (available(poor[1]), available(paused[1])) == (39, 100)

    def test_charges_a_wallet_until_it_is_empty_in_the_order_of_the_events(self):
        catalogue()
        user, wallet = customer(award=81)
        events = [event(str(n), user) for n in range(3)] + [event("3", user, llm_input=1)]
        statuses = [status for _, status, _ in record(*events)]
        assert statuses == ["charged", "charged", "refused", "charged"]
        assert available(wallet) == 0

    def test_has_one_effect_for_a_key(self):
        catalogue()
        (ada, hers), (bob, his) = customer(award=100), customer(award=100)
        batch = [event("1", ada), event("2", bob)]
        first = record_usage(events=batch, caller=CALLER, at=AT)
        again = record_usage(events=batch, caller=CALLER, at=AT + HOUR)
        assert [r.status for r in again] == ["replayed", "replayed"]
        assert [r.transaction_id for r in again] == [r.transaction_id for r in first]
        assert (available(hers), available(his)) == (60, 60)

    def test_has_one_effect_for_a_key_that_is_twice_in_a_batch(self):
        catalogue()
        user, wallet = customer(award=100)
        other = customer(award=100)[0]
        assert record(event("1", user), event("2", other), event("1", user)) == [
            ("1", "charged", None),
            ("2", "charged", None),
            ("1", "replayed", None),
        ]
        assert available(wallet) == 60

    def test_recognises_what_was_spent_alone_and_a_spend_what_was_in_a_batch(self):
        catalogue()
        user, wallet = customer(award=100)
        facts = {"reference_id": "r-7", "occurred_at": AT - DAY}
        charge = charge_for(quantities(report=1), at=AT)
        spend(payers_of(user), charge, key="1", actor_id=user.pk, **facts)
        batch = [event("1", user, **facts), event("2", user, **facts)]
        assert [status for _, status, _ in record(*batch)] == ["replayed", "charged"]
        assert not spend(payers_of(user), charge, key="2", actor_id=user.pk, **facts).is_new
        assert available(wallet) == 20

    def test_lets_the_pool_pay_for_what_the_own_wallet_does_not_cover(self):
        catalogue()
        member, organisation = CustomerFactory(), TeamFactory()
        own = wallet_with_credits(member, award=45)
        seat(organisation, member)
        pool = wallet_with_credits(organisation, award=100)
        alone, _ = customer(award=40)
        batch = [event("1", member), event("2", alone), event("3", member)]
        assert [status for _, status, _ in record(*batch)] == ["charged"] * 3
        assert (available(own), available(pool)) == (5, 60)
        assert transactions_of(pool)[-1].actor == member
        assert [status for _, status, _ in record(*batch)] == ["replayed"] * 3

    def test_takes_purchased_credits_only_where_the_feature_does(self):
        catalogue()
        rich, poor = customer(award=100, purchase=20), customer(award=100)
        batch = [event("1", rich[0], export_premium=1), event("2", poor[0], export_premium=1)]
        batch += [event("3", customer(award=40)[0])]
        assert record(*batch) == [
            ("1", "charged", None),
            ("2", "refused", "insufficient_credits"),
            ("3", "charged", None),
        ]
        assert (available(rich[1]), transactions_of(rich[1])[-1].purchase) == (105, -15)
        assert record(event("4", rich[0], export_premium=1))[0][2] == "insufficient_credits"

    def test_prices_each_event_when_it_happened_and_books_it_now(self):
        feature = priced_feature("report", 40)
        price_of(feature, 50, valid_from=AT - DAY, at=AT - 2 * DAY)
        (ada, hers), (bob, his) = customer(award=100), customer(award=100)
        old = AT - DAY - timedelta(microseconds=1)
        record(event("1", ada, occurred_at=old), event("2", bob))
        assert (moves_of(hers)[-1], moves_of(his)[-1]) == (("usage", -40), ("usage", -50))
        booked = transactions_of(hers)[-1]
        assert (booked.occurred_at, booked.recorded_at) == (old, AT)

    def test_refuses_a_feature_that_is_sold_no_longer_but_not_its_repeat(self):
        feature = priced_feature("report", 40)
        user, _ = customer(award=100)
        record(event("1", user))
        change_feature(feature=feature, actor=finance(), at=AT, reason="test", is_active=False)
        price_list.forget()
        assert record(event("1", user), event("2", user)) == [
            ("1", "replayed", None),
            ("2", "refused", "invalid_request"),
        ]

    def test_opens_the_wallet_of_a_user_who_has_none(self):
        catalogue()
        (user,) = bulk_created(1)
        assert record(event("1", user)) == [("1", "refused", "insufficient_credits")]
        assert wallet_of(user).version == 0

    @pytest.mark.parametrize("number", [1, 4])
    def test_asks_no_more_for_more_events(self, number, django_assert_num_queries):
        catalogue()
        users = [customer(award=40)[0] for _ in range(number)]
        charge_for(quantities(report=1), at=AT)
        with django_assert_num_queries(3):
            statuses = record(*[event(str(n), user) for n, user in enumerate(users)])
        assert [status for _, status, _ in statuses] == ["charged"] * number

    def test_has_one_effect_when_two_send_the_same_batch_at_once(self, ledger_db):
        catalogue()
        customers = [customer(award=100) for _ in range(5)]
        batch = [event(str(n), user) for n, (user, _) in enumerate(customers)]
        outcomes = race(
            lambda: record_usage(events=batch, caller=CALLER, at=AT),
            lambda: record_usage(events=batch[::-1], caller=CALLER, at=AT),
            lambda: [spend(only(w), 40, caller="key:2") for _, w in customers],
        )
        assert outcomes == ["list"] * 3
        assert {available(wallet) for _, wallet in customers} == {20}
