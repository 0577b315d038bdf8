"""The queue when it is long: as many queries, and hardly more rows read, as when it is short."""

import json
import os
from datetime import timedelta

import pytest
from django.db import connection

from disputes.models import Dispute
from disputes.queries.context import about
from disputes.queries.queue import ORDER, queue
from disputes.queries.statistics import statistics
from disputes.tests.factories import appeal, disputed, resolve, review, reviewed, support
from ledger import keys
from ledger.models import CreditTransaction, Grant
from ledger.services import posting
from ledger.services.posting import DrawRequest
from ledger.tests.books import award, header, new_wallets
from ledger.tests.factories import AT, DAY, HOUR, CustomerFactory, finance, wallet_with_credits

pytestmark = pytest.mark.django_db
IN_QUEUE = int(os.environ.get("DISPUTES_IN_QUEUE", 500))
PAGE = 50


def fill_queue(number: int) -> None:
    """Open so many disputes, a second apart, of charges of one credit each."""
    user, wallets = CustomerFactory(), new_wallets(min(number, 1_000))
    for wallet in wallets:
        award(wallet, number, AT)
    for turn in range(number // len(wallets)):
        requests = [
            DrawRequest(
                wallet_id=wallet,
                amount=1,
                key=keys.digest("test", f"{turn} {wallet}"),
                fingerprint=keys.fingerprint("test"),
                actor_id=user.pk,
            )
            for wallet in wallets
        ]
        posting.draw_many(requests=requests, header=header("usage", AT))
    charges = CreditTransaction.objects.filter(kind="usage").values_list("pk", "wallet")
    at = AT + HOUR
    Dispute.objects.bulk_create(
        [
            Dispute(
                transaction_id=charge,
                wallet_id=wallet,
                charged=1,
                requested=1,
                reason_id="other",
                description="It was not delivered.",
                opened_by=user,
                submitted_at=at + timedelta(seconds=n),
                due_at=at + timedelta(seconds=n, hours=48),
                fingerprint=keys.fingerprint("test", n),
            )
            for n, (charge, wallet) in enumerate(charges)
        ],
        batch_size=2_000,
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE disputes_dispute")


def rows_read(rows) -> int:
    """Return how many disputes the first page of ``rows`` reads."""
    plan = json.loads(rows.order_by(*ORDER)[:PAGE].explain(format="json", analyze=True))

    def read(node) -> int:
        below = sum(read(child) for child in node.get("Plans", []))
        is_ours = node.get("Relation Name") == "disputes_dispute"
        removed = node.get("Rows Removed by Filter", 0)
        return below + (is_ours and node["Actual Loops"] * (node["Actual Rows"] + removed))

    return read(plan[0]["Plan"])


class TestTheQueue:
    def test_is_opened_in_bounded_queries_and_reads_a_page(self, django_assert_num_queries):
        fill_queue(IN_QUEUE)
        at = AT + 3 * DAY
        with django_assert_num_queries(2):
            page = list(queue(at=at).order_by(*ORDER)[:PAGE])
        assert len(page) == PAGE
        assert page == sorted(page, key=lambda dispute: dispute.due_at)
        assert rows_read(queue(at=at)) == PAGE
        assert rows_read(queue(at=at, overdue=True)) == PAGE
        assert rows_read(queue(at=at, status="pending")) == PAGE
        assert rows_read(queue(at=at, assignee=support())) == 0
        assert rows_read(queue(at=at, status="rejected")) == 0


class TestAbout:
    def test_tells_what_a_reviewer_wants_to_know(self):
        wallet = wallet_with_credits(award=100)
        first = disputed(10, wallet=wallet)
        dispute = disputed(40, wallet=wallet)
        other = disputed(5)
        told = about(dispute, AT + HOUR)
        assert (told.charge.pk, told.open) == (dispute.transaction_id, 40)
        assert told.effects == [f"40 credits go back into {Grant.objects.get(wallet=wallet)}."]
        assert told.balance.available == 50
        assert told.of_the_user == [first]
        assert told.similar == [other, first]


class TestStatistics:
    def test_tell_of_a_period_and_of_now(self):
        first, second = finance(), finance()
        done = reviewed(40)
        resolve(done, "partial_refund", 10, actor=first, at=AT + 3 * HOUR)
        again = review(appeal(done, at=AT + DAY), second)
        resolve(again, actor=second, at=AT + DAY + 4 * HOUR)
        resolve(reviewed(20), "rejected", actor=first, at=AT + 5 * HOUR)
        review(disputed(30))
        late = disputed(30)
        told = statistics(since=AT, until=AT + DAY, at=late.due_at)
        assert (told.pending, told.under_review, told.overdue) == (1, 1, 2)
        assert (told.submitted, told.requested) == (4, 120)
        assert (told.decided, told.appeals_decided, told.refunded) == (2, 0, 10)
        assert (told.average_seconds, told.median_seconds) == (3 * 3_600, 3 * 3_600)
        assert told.resolutions == [("partial_refund", 1, 10), ("rejected", 1, 0)]
        assert told.reasons == [("poor_result", "Poor result", 4, 40)]
        assert told.features == [("", 4, 120, 1, 40)]
        assert told.reviewers == [(first.pk, first.email, 2, 1, 10, 3 * 3_600)]
        appeals = statistics(since=AT + DAY, until=AT + 2 * DAY, at=AT)
        assert (appeals.submitted, appeals.appeals_decided, appeals.refunded) == (0, 1, 30)
        assert appeals.average_seconds == 4 * 3_600

    def test_of_nothing_are_nothing(self):
        told = statistics(since=AT, until=AT + DAY, at=AT)
        assert (told.decided, told.average_seconds, told.reviewers) == (0, None, [])

    def test_take_seven_queries(self, django_assert_num_queries):
        with django_assert_num_queries(7):
            statistics(since=AT, until=AT + DAY, at=AT)
