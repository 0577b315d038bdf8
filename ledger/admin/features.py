from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model, Prefetch, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import User
from creditsite.adminkit import (
    AsciiIntegerField,
    ConfirmationForm,
    InstantField,
    PageAction,
    ReasonField,
    TextField,
    actor_of,
    display,
    styled,
)
from ledger.admin.pages import ExplainingAdmin
from ledger.models import Feature, FeaturePrice
from ledger.services import features

CHANGEABLE = ["name", "unit", "requires_purchased", "is_active"]


def price_text(price: FeaturePrice) -> str:
    """Return a price as people say it: 3 per 1,000 tokens."""
    credits = f"{price.unit_price.normalize():,f}"
    if price.is_flat:
        return f"{credits} a use"
    many = f"{price.per:,} × " if price.per > 1 else ""
    return f"{credits} per {many}{price.feature.unit}"


def state_of(price: FeaturePrice, current: FeaturePrice | None, now: datetime) -> str:
    if price.valid_from > now:
        return "to come"
    return "in force" if price == current else "past"


class FeatureForm(forms.ModelForm):
    """A feature, and why it is made or changed."""

    name = TextField(max_length=120)
    unit = TextField(max_length=60, help_text="What a quantity of one is: report, token.")
    reason = ReasonField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        styled(self)


class AddPriceForm(ConfirmationForm):
    """A new version of a price. What was charged keeps the version that it was charged at."""

    title = "Add a price version"
    unit_price = forms.RegexField(
        r"^[0-9]{1,12}(\.[0-9]{1,6})?\Z",
        strip=False,
        label="Price",
        help_text="Credits, with up to six decimals, such as 0.25.",
        error_messages={"invalid": "Digits, and after a point at most six more."},
    )
    per = AsciiIntegerField(
        min_value=1,
        max_value=1_000_000_000,
        initial=1,
        label="For so many units",
        help_text="1,000 when the price is for a thousand tokens; typed as 1000.",
    )
    is_flat = forms.BooleanField(
        required=False, label="Flat", help_text="The price of a use, whatever the quantity."
    )
    valid_from = InstantField(label="Starts at (UTC)")

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        self.latest = objects[0].prices.order_by("-valid_from").first()
        super().__init__(data, objects=objects, **kwargs)
        self.fields["valid_from"].help_text = (
            "At least a minute ahead, and charged from then on."
            if self.latest
            else "The first price may start in the past, for usage that is imported."
        )

    def changes(self) -> list[str]:
        if self.latest is None:
            return [f"{self.object} gets its first price, and can be charged."]
        last = f"{price_text(self.latest)}, from {self.latest.valid_from:%Y-%m-%d %H:%M} UTC"
        return [f"{self.object} costs at last: {last}."]

    def apply(self, *, actor: User, at: datetime) -> str:
        price = features.add_price(
            feature=self.object,
            unit_price=Decimal(self.cleaned_data["unit_price"]),
            per=self.cleaned_data["per"],
            is_flat=self.cleaned_data["is_flat"],
            valid_from=self.cleaned_data["valid_from"],
            actor=actor,
            at=at,
            reason=self.cleaned_data["reason"],
        )
        return (
            f"{self.object} costs {price_text(price)} from {price.valid_from:%Y-%m-%d %H:%M} UTC."
        )


@admin.register(Feature)
class FeatureAdmin(ExplainingAdmin):
    """The price list. A feature is never deleted: what was charged names it."""

    form = FeatureForm
    list_display = ["code", "name", "price_now", "paid_by", "is_active"]
    search_fields = ["code", "name"]
    ordering = ["code"]
    page_actions = (
        PageAction(
            name="add-price",
            label="Add a price version…",
            form_class=AddPriceForm,
            is_primary=True,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Feature]:
        latest_first = FeaturePrice.objects.order_by("-valid_from").select_related(
            "feature", "created_by"
        )
        return super().get_queryset(request).prefetch_related(Prefetch("prices", latest_first))

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        if obj is None:
            return ["code", "name", "unit", "requires_purchased", "reason"]
        fields = ["code", *CHANGEABLE]
        return [*fields, "reason"] if self.has_change_permission(request, obj) else fields

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["code"] if obj else []

    def save_model(
        self, request: HttpRequest, obj: Feature, form: forms.ModelForm, change: Any
    ) -> None:
        given = form.cleaned_data
        record = {
            "actor": actor_of(request),
            "reason": given["reason"],
            "at": timezone.now(),
            "name": given["name"],
            "unit": given["unit"],
            "requires_purchased": given["requires_purchased"],
        }
        if change:
            features.change_feature(feature=obj, is_active=given["is_active"], **record)
        else:
            obj.pk = features.create_feature(code=given["code"], **record).pk

    def explain(self, request: HttpRequest, instance: Feature) -> dict[str, Any]:
        now = timezone.now()
        prices = list(instance.prices.all())
        current = next((price for price in prices if price.valid_from <= now), None)
        return {
            "prices": [
                {"price": price, "says": price_text(price), "state": state_of(price, current, now)}
                for price in prices
            ]
        }

    @display(description="price now")
    def price_now(self, feature: Feature) -> str:
        now = timezone.now()
        prices = feature.prices.all()
        return next((price_text(price) for price in prices if price.valid_from <= now), "none yet")

    @display(description="paid with")
    def paid_by(self, feature: Feature) -> str:
        return "purchased credits only" if feature.requires_purchased else "any credits"
