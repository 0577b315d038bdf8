"""The settings as they are in force, what they were, and the acts that change them."""

from functools import partial
from itertools import pairwise
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from creditsite.adminkit import ConfirmationForm, ReadOnlyAdmin, ask
from ledger.admin.settings_forms import GROUPS, EditForm, SwitchForm
from ledger.models import CreditSettings
from ledger.queries.settings import settings_at
from ledger.services.settings import CHANGEABLE, field_of, label_of, shown

MOST_VERSIONS = 50
UNITS = {
    "price_per_credit": "currency",
    "recovery_cost": "recovery_currency",
}
BESIDE = set(UNITS.values())


@admin.register(CreditSettings)
class CreditSettingsAdmin(ReadOnlyAdmin):
    """One page for all of it; each version has one of its own."""

    fieldsets = [
        (None, {"fields": ["changed_at", "changed_by", "credits_enabled"]}),
        *((title, {"fields": names}) for title, names in GROUPS.items()),
    ]

    class Media:
        css = {"all": ["ledger/staff.css"]}

    def get_urls(self) -> list[URLPattern]:
        acts = [("edit", EditForm), ("switch", SwitchForm)]
        return [
            path(
                f"{name}/",
                self.admin_site.admin_view(partial(self.act_on_newest, act=name, form_class=form)),
                name=f"ledger_creditsettings_{name}",
            )
            for name, form in acts
        ] + super().get_urls()

    def act_on_newest(
        self, request: HttpRequest, *, act: str, form_class: type[ConfirmationForm]
    ) -> HttpResponse:
        back = reverse("admin:ledger_creditsettings_changelist")
        objects = [settings_at(timezone.now())]
        page = ask(self, request, objects, form_class, act=act, back=back)
        return page or HttpResponseRedirect(back)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        current = settings_at(timezone.now())
        context = {
            **self.admin_site.each_context(request),
            "title": "Settings",
            "opts": self.opts,
            "media": self.media,
            "current": current,
            "groups": [
                (title, [fact(current, name) for name in names if name not in BESIDE])
                for title, names in GROUPS.items()
            ],
            "acts": self.acts(request, current),
            "versions": history(),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/ledger/creditsettings/change_list.html", context)

    def acts(self, request: HttpRequest, current: CreditSettings) -> list[dict[str, Any]]:
        labels = {
            "edit": "Change the settings…",
            "switch": f"Switch credits {'off' if current.credits_enabled else 'on'}…",
        }
        return [
            {
                "title": label,
                "path": reverse(f"admin:ledger_creditsettings_{name}"),
                "is_primary": name == "edit",
            }
            for name, label in labels.items()
            if self.may_act(request, name)
        ]


def fact(current: CreditSettings, name: str) -> dict[str, str]:
    """Return a setting as the page shows it."""
    value = shown(getattr(current, name))
    if name in UNITS:
        value = f"{value} {getattr(current, UNITS[name])}"
    elif name.endswith("_share"):
        value = f"{value} %"
    return {"label": label_of(name), "value": value, "help": field_of(name).help_text}


def history() -> list[dict[str, Any]]:
    """Return the last versions, the newest first, each with what it changed."""
    versions = list(
        CreditSettings.objects.select_related("changed_by").order_by("-pk")[: MOST_VERSIONS + 1]
    )
    if len(versions) <= MOST_VERSIONS:
        versions.append(CreditSettings())  # What there was before the first.
    return [
        {"version": after, "changes": differences(before, after)}
        for after, before in pairwise(versions)
    ]


def differences(before: CreditSettings, after: CreditSettings) -> list[str]:
    return [
        f"{label_of(name)}: {shown(getattr(before, name))} → {shown(getattr(after, name))}"
        for name in ["credits_enabled", *CHANGEABLE]
        if getattr(before, name) != getattr(after, name)
    ]
