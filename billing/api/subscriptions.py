"""A user's subscription: begun on Stripe's page, changed, ended and taken up again here."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.callers import caller_of, idempotency_key, subject_of
from accounts.models import User
from billing import errors
from billing.api.fields import AddressField, CurrencyField, money, refuse_others_in_the_clear
from billing.choices import ChangeKind, ChangeStatus, Interval, SubscriptionStatus
from billing.gateway import PaymentDeclined, PaymentsUnavailable
from billing.models import OfferPrice, Subscription, SubscriptionChange
from billing.queries.plans import plan_price
from billing.queries.subscriptions import PRICES, subscription_of
from billing.services import subscribing, subscription_changes
from creditsite.apikit.fields import StrictChar, StrictSerializer, UserIdField
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView, body_of
from creditsite.errors import InvalidRequest, NotFound
from creditsite.links import site_link
from ledger.api.system import MoneyDocument
from ledger.api.wallets import USER_ID, UserQuery
from ledger.errors import CreditsDisabled, IdempotencyKeyReused, WalletClosed
from ledger.queries.wallets import wallet_of

CHANGE_REFUSALS = [
    NotFound,
    errors.NotSubscribed,
    errors.ChangeWaiting,
    PaymentsUnavailable,
    IdempotencyKeyReused,
]


# --- Bodies ---------------------------------------------------------------------------------------
class OfUser(StrictSerializer):
    user_id = UserIdField(required=False, help_text=USER_ID)


class PlanRequest(OfUser):
    plan = StrictChar(max_length=40, help_text="The code of a plan.")
    interval = serializers.ChoiceField(
        choices=Interval.choices,
        required=False,
        help_text="How often it is paid. Every month, or as before, if left out.",
    )


class SubscribeRequest(PlanRequest):
    currency = CurrencyField("that of the settings, or a plan's only one,")
    success_url = AddressField(help_text="Where the page leads when it is paid.")
    cancel_url = AddressField(help_text="Where its way back leads.")


class PortalRequest(OfUser):
    return_url = AddressField(help_text="Where the portal leads back to.")


class PreviewQuery(UserQuery):
    plan = StrictChar(max_length=40, help_text="The code of a plan.")
    interval = serializers.ChoiceField(choices=Interval.choices, required=False)


# --- Documents ------------------------------------------------------------------------------------
class BegunSubscriptionDocument(serializers.Serializer):
    checkout_url = serializers.URLField(help_text="Stripe's page: lead the user there.")


class AddressDocument(serializers.Serializer):
    url = serializers.URLField(help_text="Lead the user there; it is good for a short time.")


class SubscribedPlanDocument(serializers.Serializer):
    plan = serializers.CharField()
    name = serializers.CharField()
    credits = serializers.IntegerField(help_text="Every month.")
    features = serializers.ListField(child=serializers.CharField())
    interval = serializers.ChoiceField(choices=Interval.choices)
    price = MoneyDocument(help_text="For an interval, without tax.")


class SubscriptionDocument(SubscribedPlanDocument):
    id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=SubscriptionStatus.choices)
    period_start = serializers.DateTimeField(allow_null=True)
    period_end = serializers.DateTimeField(allow_null=True)
    cancels_at = serializers.DateTimeField(
        allow_null=True, help_text="When it ends, if it was cancelled."
    )
    next = SubscribedPlanDocument(
        allow_null=True, help_text="What follows with the next period, if it is another plan."
    )


class ChangedDocument(serializers.Serializer):
    change = serializers.ChoiceField(choices=ChangeKind.choices)
    change_status = serializers.ChoiceField(
        choices=ChangeStatus.choices, help_text="`waiting`: Stripe has yet to hear of it."
    )
    subscription = SubscriptionDocument()


class PreviewDocument(serializers.Serializer):
    change = serializers.ChoiceField(choices=ChangeKind.choices)
    due = MoneyDocument(help_text="To be paid at once, with tax.")
    tax = MoneyDocument(help_text="Of that.")
    credits = serializers.IntegerField(help_text="That come at once.")
    takes_effect_at = serializers.DateTimeField()


def document_of_price(price: OfferPrice) -> dict[str, Any]:
    version = price.version
    return {
        "plan": version.offer.code,
        "name": version.name,
        "credits": version.credits,
        "features": version.features,
        "interval": price.interval,
        "price": money(price.amount_minor, price.currency),
    }


def document_of_subscription(subscription: Subscription) -> dict[str, Any]:
    """Return a subscription as its owner is shown it."""
    follows = subscription.next_price
    return {
        **(document_of_price(subscription.price) if subscription.price else NO_PLAN),
        "id": subscription.public_id,
        "status": subscription.status,
        "period_start": subscription.period_start,
        "period_end": subscription.period_end,
        "cancels_at": subscription.cancels_at,
        "next": document_of_price(follows) if follows else None,
    }


# A subscription made in Stripe's dashboard may be to a price that is none of ours.
NO_PLAN: dict[str, Any] = {
    "plan": "",
    "name": "",
    "credits": 0,
    "features": [],
    "interval": Interval.MONTH,
    "price": money(0, ""),
}


# --- Views ----------------------------------------------------------------------------------------
class SubscriptionListView(ApiView):
    @operation(
        "subscribe",
        body=SubscribeRequest,
        answers={201: BegunSubscriptionDocument},
        refusals=[
            NotFound,
            errors.NotForSale,
            errors.AlreadySubscribed,
            PaymentsUnavailable,
            CreditsDisabled,
            WalletClosed,
            IdempotencyKeyReused,
        ],
        takes_key=True,
    )
    def post(self, request: Request) -> Response:
        """Begin a subscription: the user pays for it on Stripe's page, and credits come then."""
        body = body_of(request, SubscribeRequest)
        key = key_of(request)
        user = subject_of(request, body.get("user_id"))
        success, cancel = (body.get(name) or way_back() for name in ("success_url", "cancel_url"))
        refuse_others_in_the_clear(request, success, cancel)
        at = timezone.now()
        price = plan_price(
            plan=body["plan"],
            interval=body.get("interval") or Interval.MONTH,
            currency=body.get("currency", ""),
            at=at,
        )
        session = subscribing.subscribe(
            user=user,
            wallet=wallet_of(user),
            price=price,
            success_url=success,
            cancel_url=cancel,
            caller=caller_of(request),
            idempotency_key=key,
            at=at,
            calculates_tax=settings.STRIPE_AUTOMATIC_TAX,
        )
        return Response(BegunSubscriptionDocument({"checkout_url": session.url}).data, 201)


class CurrentSubscriptionView(ApiView):
    query_class = UserQuery

    @operation("getSubscription", answers={200: SubscriptionDocument}, refusals=[NotFound])
    def get(self, request: Request) -> Response:
        """The subscription that a user has."""
        subscription = subscription_in(subject_of(request, self.query.get("user_id")))
        return Response(SubscriptionDocument(document_of_subscription(subscription)).data)

    @operation(
        "changePlan",
        body=PlanRequest,
        answers={200: ChangedDocument},
        refusals=[*CHANGE_REFUSALS, errors.NotForSale, errors.NotChangeable, PaymentDeclined],
        takes_key=True,
    )
    def patch(self, request: Request) -> Response:
        """
        Change to another plan: a dearer one now, for the difference, a cheaper one with the next
        period. The plan that is paid for takes a change to come back.
        """
        body = body_of(request, PlanRequest)
        key = key_of(request)
        user = subject_of(request, body.get("user_id"))
        subscription = subscription_in(user)
        change = subscription_changes.change_plan(
            subscription=subscription,
            price=price_for(subscription, body),
            actor=user,
            caller=caller_of(request),
            idempotency_key=key,
        )
        return changed(change)

    @operation(
        "cancelSubscription",
        answers={200: ChangedDocument},
        refusals=CHANGE_REFUSALS,
        takes_key=True,
    )
    def delete(self, request: Request) -> Response:
        """End it with the period that is paid for; until then `keep` takes that back."""
        user = subject_of(request, self.query.get("user_id"))
        return act(request, user, subscription_changes.cancel_at_period_end)


class KeepSubscriptionView(ApiView):
    @operation(
        "keepSubscription",
        body=OfUser,
        answers={200: ChangedDocument},
        refusals=CHANGE_REFUSALS,
        takes_key=True,
    )
    def post(self, request: Request) -> Response:
        """Take a cancellation back, while the subscription has not ended."""
        user = subject_of(request, body_of(request, OfUser).get("user_id"))
        return act(request, user, subscription_changes.keep_subscription)


class PreviewView(ApiView):
    query_class = PreviewQuery

    @operation(
        "previewPlan",
        answers={200: PreviewDocument},
        refusals=[
            NotFound,
            errors.NotForSale,
            errors.NotChangeable,
            errors.NotSubscribed,
            PaymentsUnavailable,
        ],
    )
    def get(self, request: Request) -> Response:
        """What a change to a plan would cost and bring if it were made now."""
        subscription = subscription_in(subject_of(request, self.query.get("user_id")))
        preview = subscription_changes.preview_change(
            subscription=subscription,
            price=price_for(subscription, self.query),
            at=timezone.now(),
        )
        document = {
            "change": preview.kind,
            "due": money(preview.due_minor, preview.currency),
            "tax": money(preview.tax_minor, preview.currency),
            "credits": preview.credits,
            "takes_effect_at": preview.takes_effect_at,
        }
        return Response(PreviewDocument(document).data)


class PortalView(ApiView):
    @operation(
        "openPortal",
        body=PortalRequest,
        answers={200: AddressDocument},
        refusals=[NotFound, PaymentsUnavailable],
        takes_key=True,
    )
    def post(self, request: Request) -> Response:
        """Stripe's page on which a user looks after cards, invoices and their subscription."""
        body = body_of(request, PortalRequest)
        key = key_of(request)
        user = subject_of(request, body.get("user_id"))
        back = body.get("return_url") or way_back()
        refuse_others_in_the_clear(request, back)
        url = subscribing.portal_url(
            user=user, return_url=back, idempotency_key=key, at=timezone.now()
        )
        return Response(AddressDocument({"url": url}).data)


# --- What they share ------------------------------------------------------------------------------
def key_of(request: Request) -> str:
    """
    Return the request's key; one of its own for a signed-in user who sent none.

    :raises InvalidRequest: a service key sent none.
    """
    return idempotency_key(request) or str(uuid4())


def way_back() -> str:
    """
    Return where Stripe's pages lead back to if the request does not say.

    :raises InvalidRequest: nobody has said what the address of this site is.
    """
    back = site_link(reverse("billing_plans"))
    if not back:
        raise InvalidRequest(
            "Send success_url and cancel_url: this site knows no address of its own."
        )
    return back


def subscription_in(user: User) -> Subscription:
    """:raises NotFound: the user has none."""
    subscription = subscription_of(wallet_of(user))
    if subscription is None:
        raise NotFound("There is no subscription.")
    return subscription


def price_for(subscription: Subscription, asked: dict[str, Any]) -> OfferPrice:
    """
    Return the price of a plan for who has ``subscription``: in its currency, paid as often.

    :raises NotFound: there is no such plan.
    :raises NotForSale: it is not sold any more.
    :raises UnknownCurrency: it has no price in the currency of the subscription.
    """
    current = subscription.price
    return plan_price(
        plan=asked["plan"],
        interval=asked.get("interval") or (current.interval if current else Interval.MONTH),
        currency=current.currency if current else "",
        at=timezone.now(),
        current=current,
    )


def act(request: Request, user: User, change: Callable[..., SubscriptionChange]) -> Response:
    return changed(
        change(
            subscription=subscription_in(user),
            actor=user,
            caller=caller_of(request),
            idempotency_key=key_of(request),
        )
    )


def changed(change: SubscriptionChange) -> Response:
    rows = Subscription.objects.select_related(*PRICES)
    document = {
        "change": change.kind,
        "change_status": change.status,
        "subscription": document_of_subscription(rows.get(pk=change.subscription_id)),
    }
    return Response(ChangedDocument(document).data)
