"""Pages that explain one row of the books, with the acts that its state and the reader allow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from accounts.permissions import staff_may
from creditsite.adminkit import ConfirmationForm, ModelAdmin, confirm_one


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAction:
    """One act on a page's object: the permission it takes, and the form that asks first."""

    name: str
    label: str
    permission: str
    form_class: type[ConfirmationForm]
    is_offered: Callable[[Any], bool] = lambda instance: True
    is_primary: bool = False


class ExplainingAdmin(ModelAdmin):
    """
    Shows ``admin/ledger/<model>/change_form.html`` with what ``explain`` returns, and offers
    ``page_actions``. Each has an address of its own, where its permission is asked for again:
    of the staff groups, so that a superuser without a group may not either.
    """

    page_actions: tuple[PageAction, ...] = ()

    class Media:
        css = {"all": ["ledger/staff.css"]}

    def explain(self, request: HttpRequest, instance: Any) -> dict[str, Any]:
        """Return what the template of ``instance`` is given."""
        return {}

    def get_urls(self) -> list[URLPattern]:
        opts = self.model._meta
        acts = [
            path(
                f"<path:object_id>/{action.name}/",
                self.admin_site.admin_view(partial(self.act, action=action)),
                name=f"{opts.app_label}_{opts.model_name}_{action.name}",
            )
            for action in self.page_actions
        ]
        return acts + super().get_urls()

    def act(self, request: HttpRequest, object_id: str, *, action: PageAction) -> HttpResponse:
        if not staff_may(request.user, action.permission):
            raise PermissionDenied
        instance = self.get_object(request, object_id)
        if instance is not None and not action.is_offered(instance):
            self.message_user(request, "That is not possible here, or no longer.", messages.WARNING)
            return HttpResponseRedirect(self.page_url(instance, "change"))
        return confirm_one(self, request, object_id, action.form_class)

    def render_change_form(
        self,
        request: HttpRequest,
        context: Mapping[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Model | None = None,
    ) -> HttpResponse:
        context = dict(context)
        if obj is not None:
            context["page_actions"] = self.offered(request, obj)
            context |= self.explain(request, obj)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def offered(self, request: HttpRequest, instance: Model) -> list[dict[str, Any]]:
        return [
            {
                "label": action.label,
                "is_primary": action.is_primary,
                "url": self.page_url(instance, action.name),
            }
            for action in self.page_actions
            if staff_may(request.user, action.permission) and action.is_offered(instance)
        ]

    def page_url(self, instance: Model, name: str) -> str:
        opts = self.model._meta
        return reverse(f"admin:{opts.app_label}_{opts.model_name}_{name}", args=[instance.pk])
