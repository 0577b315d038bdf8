"""Promotions: made, changed and ended, the large ones by two people."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.db.utils import IntegrityError, ProgrammingError

from accounts.errors import InvalidFields
from accounts.models import Approval
from accounts.services import approvals
from audit.models import AuditEvent
from billing.errors import StaleVersion
from billing.models import Promotion
from billing.services.promotions import (
    change_promotion,
    create_promotion,
    end_promotion,
    version_of,
)
from billing.tests.sale import package, plan, promotion, promotion_terms
from creditsite.errors import Conflict
from creditsite.testing.races import race
from ledger.tests.factories import AT, finance, set_credit_settings

WHY = {"at": AT, "reason": "as it was decided"}
DAY = timedelta(days=1)


def made(kind="grant", actor=None, **more):
    return create_promotion(terms=promotion_terms(kind, **more), actor=actor or finance(), **WHY)


def changed(promotion, actor=None, **changes):
    given = {"version": version_of(promotion), "changes": changes, "actor": actor or finance()}
    return change_promotion(promotion=promotion, **given, **WHY)


def approved(approval):
    return approvals.approve(approval=approval, checker=finance(), note="", at=AT)


@pytest.mark.django_db
class TestCreatePromotion:
    @pytest.mark.parametrize("kind", ["percentage", "fixed", "bonus", "grant"])
    def test_makes_each_kind_and_records_it(self, kind):
        actor = finance()
        found = made(kind, actor, code="spring-26", limit_total=10)
        assert (found.code, found.created_by, found.taken) == ("SPRING-26", actor, 0)
        event = AuditEvent.objects.get(action="billing.promotion.created")
        assert (event.after["kind"], event.after["limit_total"]) == (kind, 10)

    def test_refuses_a_code_that_is_taken_in_whatever_case(self):
        promotion()
        with pytest.raises(Conflict):
            promotion(code="Spring")

    @pytest.mark.parametrize(
        ("kind", "wrong", "field"),
        [
            ("percentage", {"code": ""}, "code"),
            ("percentage", {"code": "SPR ING"}, "__all__"),
            ("percentage", {"code": "FRÜHLING"}, "__all__"),
            ("percentage", {"code": "-"}, "__all__"),
            ("percentage", {"code": "X" * 41}, "code"),
            ("percentage", {"name": ""}, "name"),
            ("percentage", {"basis_points": 0}, "__all__"),
            ("percentage", {"basis_points": 10_001}, "__all__"),
            ("percentage", {"credits": 5}, "__all__"),
            ("fixed", {"amounts": {}}, "__all__"),
            ("fixed", {"amounts": {"xxx": 5}}, "amounts"),
            ("fixed", {"amounts": {"usd": 0}}, "amounts"),
            ("fixed", {"basis_points": 5}, "__all__"),
            ("bonus", {"credits": 0}, "__all__"),
            ("bonus", {"credits": 1_000_000_001}, "__all__"),
            ("bonus", {"expiry_days": 0}, "__all__"),
            ("bonus", {"minimum_credits": -1}, "__all__"),
            ("grant", {"limit_per_user": 2}, "__all__"),
            ("grant", {"limit_per_user": None}, "__all__"),
            ("grant", {"minimum_credits": 5}, "__all__"),
            ("grant", {"offers": ["small"]}, "__all__"),
            ("bonus", {"offers": ["monthly"]}, "offers"),
            ("bonus", {"offers": ["none"]}, "offers"),
            ("bonus", {"roles": ["nobody"]}, "roles"),
            ("bonus", {"limit_total": 0}, "__all__"),
            ("bonus", {"ends_at": AT}, "__all__"),
        ],
        ids=str,
    )
    def test_refuses_what_could_not_be(self, kind, wrong, field):
        package()
        plan()
        with pytest.raises(InvalidFields) as refusal:
            promotion(kind, **wrong)
        assert list(refusal.value.errors) == [field]
        assert not Promotion.objects.exists()

    @pytest.mark.parametrize(
        ("kind", "terms", "waits"),
        [
            ("grant", {"credits": 100, "limit_total": 10}, False),
            ("grant", {"credits": 100, "limit_total": 11}, True),
            ("grant", {"credits": 501, "limit_total": 1}, True),
            ("grant", {"credits": 1, "limit_total": 51}, True),
            ("grant", {"credits": 1, "limit_total": None}, True),
            ("bonus", {"credits": 1, "limit_total": None}, True),
            ("percentage", {"limit_total": None}, False),
            ("fixed", {"limit_total": None}, False),
        ],
    )
    def test_waits_for_a_second_person_where_it_gives_many_credits(self, kind, terms, waits):
        set_credit_settings(
            approval_adjustment_above=500,
            approval_batch_credits_above=1_000,
            approval_batch_wallets_above=50,
        )
        assert isinstance(made(kind, **terms), Approval) == waits
        assert Promotion.objects.exists() != waits

    def test_counts_together_what_one_maker_promises_in_a_day(self):
        set_credit_settings(approval_batch_credits_above=1_000)
        maker = finance()
        assert isinstance(made("grant", maker, credits=100, limit_total=6), Promotion)
        again = {"code": "AGAIN", "credits": 100, "limit_total": 5}
        assert isinstance(made("grant", maker, **again), Approval)
        assert isinstance(made("grant", maker, **again | {"limit_total": 4}), Promotion)
        assert isinstance(made("bonus", maker, code="MORE", limit_total=1), Approval)
        assert isinstance(made("bonus", finance(), code="MORE", limit_total=1), Promotion)

    def test_counts_together_what_one_maker_promises_at_once(self, ledger_db):
        set_credit_settings(approval_batch_credits_above=1_000)
        maker = finance()
        more = {"credits": 100, "limit_total": 6}
        outcomes = race(*(lambda n=n: made("grant", maker, code=f"N{n}", **more) for n in "123456"))
        assert sorted(outcomes) == ["Approval"] * 5 + ["Promotion"]

    def test_is_made_as_it_was_approved(self):
        maker = finance()
        ends = AT + 30 * DAY
        approval = made("grant", maker, ends_at=ends, roles=["member"], expiry_days=60)
        assert approval.sentence == "Make the promotion SPRING: 50 credits, any number of times"
        assert approved(approval).status == "executed"
        found = Promotion.objects.get()
        assert (found.starts_at, found.ends_at, found.roles) == (AT, ends, ["member"])
        assert (found.expiry_days, found.limit_total, found.created_by) == (60, None, maker)
        event = AuditEvent.objects.get(action="billing.promotion.created")
        assert (event.actor_id, event.approval_id) == (maker.pk, approval.pk)

    def test_fails_if_the_code_was_taken_meanwhile(self):
        approval = made("grant")
        promotion()
        assert approved(approval).status == "failed"
        assert Promotion.objects.count() == 1


@pytest.mark.django_db
class TestChangePromotion:
    def test_changes_until_when_and_how_often_and_records_it(self):
        found = changed(promotion(limit_total=5), limit_total=9, ends_at=AT + DAY, name="Later")
        assert (found.limit_total, found.ends_at, found.name) == (9, AT + DAY, "Later")
        event = AuditEvent.objects.get(action="billing.promotion.changed")
        assert (event.before["limit_total"], event.after["limit_total"]) == (5, 9)

    def test_refuses_a_form_that_is_out_of_date_and_one_that_says_nothing(self):
        found = promotion(limit_total=5)
        with pytest.raises(Conflict, match="Nothing would change"):
            changed(found, limit_total=5)
        was = Promotion.objects.get()
        changed(found, limit_total=9)
        with pytest.raises(StaleVersion):
            changed(was, limit_total=10)

    def test_refuses_what_could_not_be(self):
        for wrong in [{"limit_total": 0}, {"ends_at": AT}, {"name": ""}]:
            with pytest.raises(InvalidFields), transaction.atomic():
                changed(promotion(code=f"A{len(wrong)}{next(iter(wrong))[0]}"), **wrong)

    def test_raises_one_that_gives_many_credits_with_a_second_person(self):
        found = promotion("grant", limit_total=100)
        set_credit_settings(approval_batch_credits_above=1_000)
        assert isinstance(changed(found, limit_total=99), Promotion)
        found.refresh_from_db()
        approval = changed(found, limit_total=101)
        assert approval.sentence == "Change the promotion SPRING: times in all 99 → 101"
        found.refresh_from_db()
        assert found.limit_total == 99
        assert approved(approval).status == "executed"
        found.refresh_from_db()
        assert found.limit_total == 101

    def test_fails_if_it_was_changed_before_it_was_approved(self):
        found = promotion("grant", limit_total=100)
        set_credit_settings(approval_batch_credits_above=1_000)
        approval = changed(found, limit_total=101)
        found.refresh_from_db()
        changed(found, limit_total=50)
        assert approved(approval).status == "failed"

    @pytest.mark.parametrize("change", [{"credits": 51}, {"code": "X"}, {"roles": []}])
    def test_never_changes_what_it_gives(self, change):
        promotion("grant", roles=["member"])
        with pytest.raises(ProgrammingError, match="never changes"), transaction.atomic():
            Promotion.objects.update(**change)

    def test_counts_nothing_below_zero(self):
        promotion()
        with pytest.raises(IntegrityError), transaction.atomic():
            Promotion.objects.update(taken=-1)


@pytest.mark.django_db
class TestEndPromotion:
    def test_ends_it_for_good(self):
        found = promotion()
        end_promotion(promotion=found, actor=finance(), **WHY)
        assert not Promotion.objects.get().is_active
        for again in (
            lambda: end_promotion(promotion=found, actor=None, **WHY),
            lambda: changed(found, limit_total=3),
        ):
            with pytest.raises(Conflict, match="has been ended"):
                again()
        assert AuditEvent.objects.filter(action="billing.promotion.ended").count() == 1
