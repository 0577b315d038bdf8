"""Who earns since when, who is paid out, and what is kept of it."""

from decimal import Decimal
from typing import Any

import pytest
from django.core import mail
from django.db import DatabaseError, IntegrityError, connection, transaction

from accounts.models import Approval, User
from accounts.services.approvals import approve
from accounts.services.data_export import document_of
from accounts.services.erasure import erase_user, preview_erasure
from accounts.services.users import change_agent, change_partner
from accounts.tests.factories import StaffFactory
from audit.models import AuditEvent
from billing.errors import NoPartner, NotPayable, OwnShare
from billing.models import (
    ErasedReferral,
    ShareLine,
    SharePayout,
    ShareStatement,
    ShareTerm,
)
from billing.services import shares
from billing.services.share_exports import export_statement, export_statements
from billing.tests.shares import (
    AFTER,
    FEBRUARY,
    IN_FEBRUARY,
    IN_JANUARY,
    JANUARY,
    agent,
    earned_in_january,
    make_months,
    owned_feature,
    partner,
    pay,
    wallet_of_referred,
)
from creditsite.errors import Conflict, InvalidRequest, NotPermitted
from creditsite.testing import race
from ledger.errors import IdempotencyKeyReused
from ledger.tests.books import START, buy, spend
from ledger.tests.factories import (
    DAY,
    CustomerFactory,
    finance,
    priced_feature,
    set_credit_settings,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ten_percent(db: None) -> None:
    set_credit_settings(agent_revenue_share=Decimal(10), changed_at=START - DAY)


def terms() -> list[tuple[int, str | None, Any, Any]]:
    found = ShareTerm.objects.order_by("pk").values_list("payee", "feature__code", "since", "until")
    return list(found)


class TestAssignFeature:
    def test_hands_over_and_records(self):
        first, second, actor = partner(), partner(), finance()
        feature = owned_feature(first)
        shares.assign_feature(
            feature=feature, partner=second, reason="sold", actor=actor, at=IN_JANUARY
        )
        assert terms() == [
            (first.pk, "report", START, IN_JANUARY),
            (second.pk, "report", IN_JANUARY, None),
        ]
        event = AuditEvent.objects.get(reason="sold")
        assert event.before == {"owner": first.pk}
        assert event.after["owner"] == second.pk

    def test_refuses(self):
        owner, feature = partner(), priced_feature("report", 1)
        asked = {"feature": feature, "reason": "why", "at": START}
        with pytest.raises(NotPermitted):
            shares.assign_feature(partner=owner, actor=StaffFactory(groups="Support"), **asked)
        with pytest.raises(NoPartner):
            shares.assign_feature(partner=CustomerFactory(), actor=finance(), **asked)
        own = finance(is_partner=True)
        with pytest.raises(OwnShare):
            shares.assign_feature(partner=own, actor=own, **asked)
        shares.assign_feature(partner=own, actor=finance(), **asked)
        with pytest.raises(OwnShare):
            shares.assign_feature(partner=owner, actor=own, **asked)
        with pytest.raises(Conflict, match="theirs already"):
            shares.assign_feature(partner=own, actor=finance(), **asked)
        assert len(terms()) == 1

    def test_ends_with_the_partner_status(self):
        owner = CustomerFactory()
        given = {"user": owner, "actor": StaffFactory(), "reason": "as agreed with them"}
        change_partner(**given, is_partner=True, at=START)
        owner.refresh_from_db()
        owned_feature(owner)
        change_partner(**given, is_partner=False, at=IN_JANUARY)
        assert terms() == [(owner.pk, "report", START, IN_JANUARY)]

    def test_of_two_at_once_leaves_one_owner(self, ledger_db):
        feature, owners = priced_feature("report", 1), [partner() for _ in range(4)]
        asked = {"feature": feature, "reason": "why", "at": START, "actor": None}
        outcomes = race(
            *[lambda each=each: shares.assign_feature(partner=each, **asked) for each in owners]
        )
        assert outcomes == ["ShareTerm"] * 4
        assert ShareTerm.objects.filter(until=None).count() == 1


class TestEndOwnership:
    def test_ends_once(self):
        owner = partner()
        owned_feature(owner)
        asked = {"term": ShareTerm.objects.get(), "reason": "closed", "actor": finance()}
        shares.end_ownership(**asked, at=IN_JANUARY)
        assert terms() == [(owner.pk, "report", START, IN_JANUARY)]
        with pytest.raises(Conflict):
            shares.end_ownership(**asked, at=IN_FEBRUARY)

    def test_is_nothing_for_agents_or_for_owners(self):
        agent()
        asked = {"term": ShareTerm.objects.get(), "reason": "closed"}
        with pytest.raises(Conflict, match="agent status"):
            shares.end_ownership(**asked, actor=finance(), at=IN_JANUARY)
        owner = finance(is_partner=True)
        owned_feature(owner)
        with pytest.raises(OwnShare):
            shares.end_ownership(
                term=ShareTerm.objects.get(payee=owner), reason="x", actor=owner, at=IN_JANUARY
            )


class TestAgents:
    def test_earn_while_they_are(self):
        user, actor = agent(), StaffFactory()
        change = {"user": user, "actor": actor, "reason": "as agreed with them"}
        change_agent(**change, is_agent=False, at=IN_JANUARY)
        change_agent(**change, is_agent=True, at=IN_FEBRUARY)
        assert terms() == [(user.pk, None, START, IN_JANUARY), (user.pk, None, IN_FEBRUARY, None)]

    def test_who_begin_as_one_earn_from_then_on(self):
        user = CustomerFactory(is_agent=True, date_joined=START)
        assert terms() == [(user.pk, None, START, None)]

    def test_end_no_earlier_than_they_began_whatever_a_clock_says(self):
        user = agent(at=IN_FEBRUARY)
        change_agent(
            user=user, actor=StaffFactory(), reason="as agreed", is_agent=False, at=IN_JANUARY
        )
        assert terms() == [(user.pk, None, IN_FEBRUARY, IN_FEBRUARY)]


class TestPayShare:
    def test_writes_it_down_once_and_tells_them(self):
        statement, actor = earned_in_january(), finance()
        mail.outbox.clear()
        payout = pay(statement, actor=actor, reference="TR-7")
        assert pay(statement, actor=actor, reference="TR-7") == payout
        assert SharePayout.objects.get().amount_minor == 80
        event = AuditEvent.objects.get(action="billing.share.paid")
        assert (event.actor_id, event.reason) == (actor.pk, "the month is over")
        (letter,) = mail.outbox
        assert letter.to == [statement.payee.email]
        assert "0.80 USD" in letter.body
        assert "TR-7" in letter.body

    def test_refuses(self):
        earner = finance(is_agent=True, date_joined=START)
        asked = {"statement": earned_in_january(80, earner)}
        with pytest.raises(NotPermitted):
            pay(**asked, actor=StaffFactory(groups="Auditor"))
        with pytest.raises(OwnShare):
            pay(**asked, actor=earner)
        with pytest.raises(InvalidRequest, match="still to come"):
            pay(**asked, paid_on=AFTER.date() + 2 * DAY)
        for reference in ("", "two words", "Ünlaut", "-1", "x" * 41, "a\n"):
            with pytest.raises(InvalidRequest, match="code"):
                pay(**asked, reference=reference)
        assert not SharePayout.objects.exists()
        pay(**asked)
        with pytest.raises(NotPayable, match="paid out already"):
            pay(**asked, idempotency_key="another")
        with pytest.raises(IdempotencyKeyReused):
            pay(**asked, reference="TR-2")

    def test_refuses_what_was_carried_forward(self):
        statement = earned_in_january()
        wallet = wallet_of_referred(statement.payee)
        buy(wallet, 100, 1_000)
        spend(wallet, 50, IN_FEBRUARY + 120 * DAY)
        make_months(AFTER + 60 * DAY)
        with pytest.raises(NotPayable, match="carried forward to 2026-06"):
            pay(statement)
        later = ShareStatement.objects.get(previous=statement)
        assert later.opening_minor == 80
        assert pay(later, at=AFTER + 60 * DAY).amount_minor == 130

    def test_of_much_waits_for_a_second_person(self):
        statement = earned_in_january(10_001 * 100)
        maker = finance()
        approval = pay(statement, actor=maker)
        assert isinstance(approval, Approval)
        assert not SharePayout.objects.exists()
        assert pay(statement, actor=maker) == approval
        done = approve(approval=approval, checker=finance(), note="", at=AFTER)
        payout = SharePayout.objects.get()
        assert done.result == {"payout": payout.pk}
        assert payout.paid_by == maker

    def test_of_much_is_not_for_who_earned_it_to_approve(self):
        earner = finance(is_agent=True, date_joined=START)
        approval = pay(earned_in_january(10_001 * 100, earner), actor=finance())
        with pytest.raises(NotPermitted):
            approve(approval=approval, checker=earner, note="", at=AFTER)
        assert not SharePayout.objects.exists()

    def test_in_a_currency_without_a_rate_takes_two(self):
        set_credit_settings(currency="EUR", changed_at=AFTER - DAY)
        assert isinstance(pay(earned_in_january(), actor=finance()), Approval)

    def test_by_many_at_once_pays_once(self, ledger_db):
        set_credit_settings(agent_revenue_share=Decimal(10), changed_at=START - DAY)
        statement = earned_in_january()
        outcomes = race(
            *[lambda key=key: pay(statement, idempotency_key=f"{key}") for key in range(6)]
        )
        assert sorted(outcomes) == ["NotPayable"] * 5 + ["SharePayout"]


class TestTheDatabase:
    """Refuses what services forget."""

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE billing_sharestatement SET earned_minor = 1",
            "DELETE FROM billing_shareline",
            "UPDATE billing_sharepayout SET reference = 'X'",
            "DELETE FROM billing_sharemonth",
            "UPDATE billing_shareterm SET since = now()",
            "DELETE FROM billing_shareterm",
            "TRUNCATE billing_sharestatement CASCADE",
        ],
    )
    def test_changes_nothing_that_was_written(self, statement: str):
        pay(earned_in_january())
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
                cursor.execute(statement)

    def test_ends_a_term_once(self):
        agent()
        ShareTerm.objects.update(until=IN_JANUARY)
        with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
            ShareTerm.objects.update(until=IN_FEBRUARY)
        with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
            ShareTerm.objects.update(until=None)

    def test_has_one_owner_at_a_time(self):
        feature = owned_feature(partner())
        with pytest.raises(IntegrityError, match="one_owner"), transaction.atomic():
            ShareTerm.objects.create(payee=partner(), feature=feature, since=IN_JANUARY)
        user = agent()
        with pytest.raises(IntegrityError, match="agent_once"), transaction.atomic():
            ShareTerm.objects.create(payee=user, since=IN_JANUARY, until=IN_FEBRUARY)

    def test_begins_where_the_last_one_ended(self):
        first = earned_in_january()
        again = {
            "payee": first.payee,
            "kind": first.kind,
            "currency": "usd",
            "month": FEBRUARY,
            "earned_minor": 1,
            "made_at": AFTER,
        }
        with pytest.raises(IntegrityError, match="where the last one ended"), transaction.atomic():
            ShareStatement.objects.create(**again, previous=first, opening_minor=0)
        with pytest.raises(IntegrityError, match="opens_with_the_last"), transaction.atomic():
            ShareStatement.objects.create(**again, opening_minor=80)
        ShareStatement.objects.create(**again, previous=first, opening_minor=80)

    def test_pays_all_of_the_last_statement_or_nothing(self):
        first = earned_in_january()
        payout = {
            "reference": "X",
            "paid_on": AFTER.date(),
            "recorded_at": AFTER,
            "request_key": "5f8b9a4e-0000-4000-8000-000000000000",
            "fingerprint": "5f8b9a4e-0000-4000-8000-000000000000",
        }
        with pytest.raises(IntegrityError, match="all that the last"), transaction.atomic():
            SharePayout.objects.create(statement=first, amount_minor=79, **payout)
        ShareStatement.objects.create(
            payee=first.payee,
            kind=first.kind,
            currency="usd",
            month=FEBRUARY,
            earned_minor=1,
            made_at=AFTER,
            previous=first,
            opening_minor=80,
        )
        with pytest.raises(IntegrityError, match="all that the last"), transaction.atomic():
            SharePayout.objects.create(statement=first, amount_minor=80, **payout)


class TestFiles:
    def test_have_every_line_and_tie(self):
        statement = earned_in_january()
        pay(statement, reference="TR-9")
        actor = finance()
        lines = "".join(export_statement(statement=statement, actor=actor, at=AFTER)).splitlines()
        who = ShareLine.objects.get().user
        payee = f"2026-01,{statement.payee},{statement.payee_id},agent,USD"
        assert lines == [
            "month,payee,payee_id,kind,currency,line,percent,basis,earned,state,paid_on,reference",
            f"{payee},carried forward,,,0.00,paid out,{AFTER.date()},TR-9",
            f"{payee},{who},10.00,8.00,0.80,paid out,{AFTER.date()},TR-9",
            f"{payee},total,,,0.80,paid out,{AFTER.date()},TR-9",
        ]
        every = export_statements(first=JANUARY, last=JANUARY, actor=actor, at=AFTER)
        assert "".join(every).splitlines() == lines
        assert AuditEvent.objects.filter(action="billing.share.exported").count() == 2

    def test_are_not_for_everybody(self):
        statement = earned_in_january()
        with pytest.raises(NotPermitted):
            export_statement(statement=statement, actor=StaffFactory(groups="Support"), at=AFTER)


class TestErasure:
    def test_waits_for_what_is_not_paid_out(self):
        statement = earned_in_january()
        (obstacle,) = preview_erasure(user=statement.payee, at=AFTER).obstacles
        assert obstacle == ("0.80 USD that they earned as agent are not paid out: pay them first.")
        pay(statement)
        assert preview_erasure(user=statement.payee, at=AFTER).obstacles == []

    def test_ends_what_they_earn_and_keeps_the_books(self):
        statement = earned_in_january()
        pay(statement)
        erase_user(user=statement.payee, reason="they asked", actor=None, at=AFTER)
        assert terms() == [(statement.payee_id, None, START, AFTER)]
        assert SharePayout.objects.get().statement == statement

    def test_keeps_who_referred_them_if_somebody_may_have_earned(self):
        statement = earned_in_january()
        referred = ShareLine.objects.get().user
        stranger = CustomerFactory(referrer=CustomerFactory())
        for user in (referred, stranger):
            erase_user(user=user, reason="they asked", actor=None, at=AFTER)
        kept = ErasedReferral.objects.get()
        assert (kept.user, kept.referrer) == (referred, statement.payee)
        assert User.objects.get(pk=referred.pk).referrer is None

    def test_is_given_to_them_and_nothing_of_others(self):
        statement = earned_in_january()
        pay(statement, reference="TR-3")
        document = "".join(document_of(statement.payee, AFTER))
        for words in ['"earnings"', '"TR-3"', '"earned_minor": 80']:
            assert words.replace(": ", ":") in document.replace(": ", ":")
        assert ShareLine.objects.get().user.email not in document
