"""Every service of staff refuses by itself who may not: no door stands between it and a shell."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import Job, Role, User
from accounts.services import api_keys, jobs, roles, teams, users
from accounts.tests.factories import StaffFactory, TeamFactory, UserFactory
from audit.models import AuditEvent
from billing.choices import OfferKind
from billing.models import (
    AutoTopUp,
    Break,
    Offer,
    OfferPrice,
    Promotion,
    ShareStatement,
    ShareTerm,
    Subscription,
)
from billing.quotes import Tier
from billing.services import (
    breaks,
    offers,
    promotions,
    rates,
    reconciliation,
    share_payouts,
    shares,
    subscription_changes,
    subscription_staff,
    tier_allotments,
    tiers,
    top_ups,
)
from billing.tests.sale import package, promotion, promotion_terms, terms
from creditsite.errors import NotPermitted
from disputes.choices import Resolution
from disputes.models import Dispute, PaymentDispute
from disputes.services import payment_disputes, reasons, resolution
from ledger.choices import BatchKind, CreditType
from ledger.models import Batch, CreditTransaction, Feature, Hold, Wallet
from ledger.reports import REPORTS
from ledger.reports.shapes import Period
from ledger.services import adjustments, backfill, batches, features, holds, reports, settings
from ledger.tests.factories import AT, make_feature, open_hold, spend, wallet_with_credits

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
WHY = {"reason": "because it is asked", "at": NOW}
BY = WHY | {"caller": "user:1", "idempotency_key": "k"}
AS = {"at": NOW, "caller": "user:1", "idempotency_key": "k"}
PRICE = {"unit_price": Decimal(1), "per": 1, "is_flat": False, "valid_from": NOW}


def user() -> User:
    return User.objects.get(email="user@example.com")


def wallet() -> Wallet:
    return Wallet.objects.get(user=user())


def plan() -> Batch:
    return Batch.objects.create(
        kind=BatchKind.ADD, selection={"of": "all"}, reason="x", created_at=NOW
    )


ACTS: dict[str, Any] = {
    "create_staff": lambda by: users.create_staff(
        email="new@example.com", password="a", groups=["Admin"], actor=by, **WHY
    ),
    "create_user": lambda by: users.create_user(
        email="new@example.com", name="", role=None, actor=by, **WHY
    ),
    "rename_user": lambda by: users.rename_user(user=user(), name="x", actor=by, **WHY),
    "change_role": lambda by: users.change_role(user=user(), role=None, actor=by, **WHY),
    "change_partner": lambda by: users.change_partner(
        user=user(), is_partner=True, actor=by, **WHY
    ),
    "change_agent": lambda by: users.change_agent(user=user(), is_agent=True, actor=by, **WHY),
    "deactivate_user": lambda by: users.deactivate_user(user=user(), actor=by, **WHY),
    "activate_user": lambda by: users.activate_user(user=user(), actor=by, **WHY),
    "set_staff_groups": lambda by: users.set_staff_groups(
        user=user(), is_staff=True, groups=["Admin"], actor=by, **WHY
    ),
    "set_password": lambda by: users.set_password(
        user=user(), password="correct horse battery", actor=by, **WHY
    ),
    "save_role": lambda by: roles.save_role(role=Role(code="x", name="x"), actor=by, **WHY),
    "change_a_role": lambda by: roles.save_role(role=Role.objects.first(), actor=by, **WHY),
    "delete_role": lambda by: roles.delete_role(
        role=Role.objects.get(code="super_admin"), actor=by, **WHY
    ),
    "create_team": lambda by: teams.create_team(name="x", actor=by, **WHY),
    "rename_team": lambda by: teams.rename_team(team=TeamFactory(), name="x", actor=by, **WHY),
    "add_member": lambda by: teams.add_member(team=TeamFactory(), user=user(), actor=by, **WHY),
    "remove_member": lambda by: teams.remove_member(
        team=TeamFactory(), user=user(), actor=by, **WHY
    ),
    "delete_team": lambda by: teams.delete_team(team=TeamFactory(), actor=by, **WHY),
    "create_api_key": lambda by: api_keys.create_api_key(
        name="x", owner=StaffFactory(), scopes=["credits:read"], actor=by, **WHY
    ),
    "pause_job": lambda by: jobs.pause_job(job=Job.objects.get(), actor=by, **WHY),
    "resume_job": lambda by: jobs.resume_job(job=Job.objects.get(), actor=by, **WHY),
    "cancel_job": lambda by: jobs.cancel_job(job=Job.objects.get(), actor=by, **WHY),
    "add_credits": lambda by: adjustments.add_credits(
        wallet=wallet(), amount=1, credit_type=CreditType.AWARD, actor=by, **BY
    ),
    "remove_credits": lambda by: adjustments.remove_credits(
        wallet=wallet(), amount=1, actor=by, **BY
    ),
    "set_balances": lambda by: adjustments.set_balances(
        wallet=wallet(),
        targets={CreditType.AWARD: 1},
        version=wallet().version,
        actor=by,
        **BY,
    ),
    "reverse_transaction": lambda by: adjustments.reverse_transaction(
        original=CreditTransaction.objects.filter(kind="usage").get(), actor=by, **BY
    ),
    "pause_wallet": lambda by: adjustments.pause_wallet(wallet=wallet(), actor=by, **WHY),
    "resume_wallet": lambda by: adjustments.resume_wallet(wallet=wallet(), actor=by, **WHY),
    "end_hold_as_staff": lambda by: holds.end_hold_as_staff(
        hold=Hold.objects.get(), capture=0, actor=by, **BY
    ),
    "create_feature": lambda by: features.create_feature(
        code="new", name="x", unit="x", requires_purchased=False, actor=by, **WHY
    ),
    "change_feature": lambda by: features.change_feature(
        feature=Feature.objects.get(), name="x", actor=by, **WHY
    ),
    "add_price": lambda by: features.add_price(
        feature=Feature.objects.get(), **PRICE, actor=by, **WHY
    ),
    "export_report": lambda by: reports.export_report(
        kind=REPORTS["balances"], period=Period(NOW.date(), NOW.date()), actor=by, at=NOW
    ),
    "run_backfill": lambda by: backfill.run_backfill(
        role=None, actor=by, idempotency_key="k", **WHY
    ),
    "change_settings": lambda by: settings.change_settings(
        changes={"sign_up_credits": 5}, version=0, actor=by, **WHY
    ),
    "switch_credits": lambda by: settings.switch_credits(enabled=False, actor=by, **WHY),
    "draft_batch": lambda by: batches.draft_batch(
        kind=BatchKind.ADD,
        credit_type=CreditType.AWARD,
        amount=1,
        selection={"of": "all"},
        maker=by,
        **WHY,
    ),
    "discard_batch": lambda by: batches.discard_batch(batch=plan(), actor=by, **WHY),
    "reverse_batch": lambda by: batches.reverse_batch(batch=plan(), actor=by, **WHY),
    "pause_batch": lambda by: batches.pause_batch(batch=plan(), actor=by, **WHY),
    "resume_batch": lambda by: batches.resume_batch(batch=plan(), actor=by, **WHY),
    "cancel_batch": lambda by: batches.cancel_batch(batch=plan(), actor=by, **WHY),
    "assign_feature": lambda by: shares.assign_feature(
        feature=Feature(), partner=user(), actor=by, **WHY
    ),
    "end_ownership": lambda by: shares.end_ownership(term=ShareTerm(), actor=by, **WHY),
    "pay_share": lambda by: share_payouts.pay_share(
        statement=ShareStatement(), reference="TR-1", paid_on=NOW.date(), actor=by, **BY
    ),
    "resolve_dispute": lambda by: resolution.resolve_dispute(
        dispute=Dispute(), resolution=Resolution.EXPLANATION, notes="because", actor=by, **AS
    ),
    "save_reason": lambda by: reasons.save_reason(
        code="new", label="New", position=1, is_active=True, actor=by, **WHY
    ),
    "accept_dispute": lambda by: payment_disputes.accept_dispute(
        dispute=PaymentDispute(), actor=by, **WHY
    ),
    "create_offer": lambda by: offers.create_offer(
        code="new", kind=OfferKind.PACKAGE, position=1, terms=terms(), actor=by, **WHY
    ),
    "change_offer": lambda by: offers.change_offer(
        offer=Offer.objects.get(), terms=terms(name="x"), position=1, version=1, actor=by, **WHY
    ),
    "retire_offer": lambda by: offers.retire_offer(offer=Offer.objects.get(), actor=by, **WHY),
    "restore_offer": lambda by: offers.restore_offer(offer=Offer.objects.get(), actor=by, **WHY),
    "set_rate": lambda by: rates.set_rate(
        currency="eur", price_per_credit=Decimal(1), actor=by, **WHY
    ),
    "set_discounts": lambda by: rates.set_discounts(
        tiers=[Tier(500, 100)], subscriber_basis_points=0, version=0, actor=by, **WHY
    ),
    "create_promotion": lambda by: promotions.create_promotion(
        terms=promotion_terms(code="NEW"), actor=by, **WHY
    ),
    "change_promotion": lambda by: promotions.change_promotion(
        promotion=Promotion.objects.get(),
        version=promotions.version_of(Promotion.objects.get()),
        changes={"limit_total": 5},
        actor=by,
        **WHY,
    ),
    "switch_off_auto_top_up": lambda by: top_ups.switch_off_for_user(
        auto_top_up=AutoTopUp(), actor=by, **WHY
    ),
    "end_promotion": lambda by: promotions.end_promotion(
        promotion=Promotion.objects.get(), actor=by, **WHY
    ),
    "assign_tier": lambda by: tiers.assign_tier(wallet=wallet(), plan="monthly", actor=by, **BY),
    "end_tier": lambda by: tiers.end_tier(wallet=wallet(), actor=by, **WHY),
    "initialize_wallet": lambda by: tiers.initialize_wallet(
        wallet=wallet(), plan="monthly", initial_balance=5, actor=by, **BY
    ),
    "allot_now": lambda by: tier_allotments.allot_now(
        wallet=wallet(), actor=by, caller="user:1", idempotency_key="k", at=NOW
    ),
    "post_due": lambda by: subscription_staff.post_due(actor=by, **WHY),
    "end_subscription": lambda by: subscription_staff.change_for_user(
        subscription_changes.end_now,
        subscription=Subscription(user=user()),
        reason="x",
        actor=by,
        idempotency_key="k",
    ),
    "change_subscription": lambda by: subscription_staff.change_plan_for_user(
        subscription=Subscription(user=user()),
        price=OfferPrice(),
        reason="x",
        actor=by,
        idempotency_key="k",
    ),
    "reconcile": lambda by: reconciliation.ask_for_run(days=1, actor=by, **WHY),
    "explain_break": lambda by: breaks.explain_break(item=Break(), actor=by, **WHY),
    "settle_break": lambda by: reconciliation.settle_break(
        item=Break(), reason="x", actor=by, clock=lambda: NOW
    ),
    "create_backfill": lambda by: backfill.create_backfill(role=None, actor=by, at=NOW),
}


@pytest.fixture
def scene(db: None) -> None:
    one = wallet_with_credits(UserFactory(email="user@example.com", role=None), award=50)
    spend(one, 5, at=AT)
    open_hold(one, 10, at=AT)
    make_feature("report")
    package()
    promotion()
    Job.objects.create(kind="backfill", params={})


@pytest.mark.usefixtures("scene")
@pytest.mark.parametrize("act", ACTS)
class TestServices:
    @pytest.mark.parametrize("who", ["Support", "a user", "a superuser without a group"])
    def test_refuse_who_may_not_and_leave_everything(self, act, who):
        actors = {
            "Support": lambda: StaffFactory(groups="Support"),
            "a user": UserFactory,
            "a superuser without a group": lambda: User.objects.create_superuser("r@example.com"),
        }
        actor = actors[who]()
        events, version = AuditEvent.objects.count(), wallet().version
        with pytest.raises(NotPermitted) as refusal:
            ACTS[act](actor)
        assert refusal.value.code == "not_permitted"
        assert (AuditEvent.objects.count(), wallet().version) == (events, version)
