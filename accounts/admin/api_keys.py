from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from accounts.choices import ApiScope
from accounts.models import ApiKey, User
from accounts.services.api_keys import (
    create_api_key,
    is_lent,
    revoke_api_key,
    rotate_api_key,
    with_owners,
)
from creditsite.adminkit import (
    CheckboxSelectMultiple,
    ConfirmationForm,
    ModelAdmin,
    PageAction,
    ReasonField,
    action,
    actor_of,
    confirm,
    display,
    styled,
)


class NewApiKeyForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in ApiScope.values], widget=CheckboxSelectMultiple
    )
    reason = ReasonField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if expires_at := self.fields.get("expires_at"):  # not on the page of a key that is there
            expires_at.required = False
        styled(self)


class NewSecret(HttpResponse):
    """Stands for the page that shows ``secret``, until there is the request to make it for."""

    def __init__(self, key: ApiKey, secret: str) -> None:
        super().__init__()
        self.key, self.secret = key, secret


class RotateApiKeyForm(ConfirmationForm):
    title = "Rotate an API key"

    def changes(self) -> list[str]:
        return [
            f"A second key of {self.object.name} is made, for the same owner, scopes and cap.",
            f"{self.object} works until it is revoked. Last used: {last_use(self.object)}.",
        ]

    def apply(self, *, actor: User, at: datetime) -> HttpResponse:
        reason = self.cleaned_data["reason"]
        return NewSecret(*rotate_api_key(key=self.object, actor=actor, at=at, reason=reason))


class RevokeApiKeysForm(ConfirmationForm):
    title = "Revoke API keys"

    @property
    def phrase(self) -> str:
        return f"REVOKE {len(self.objects)}"

    def changes(self) -> list[str]:
        return [f"{key} of {key.owner} ends at once and for ever" for key in self.objects]

    def apply(self, *, actor: User, at: datetime) -> str:
        for key in self.objects:
            revoke_api_key(key=key, actor=actor, reason=self.cleaned_data["reason"], at=at)
        return f"Revoked {len(self.objects)} API keys."


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):
    form = NewApiKeyForm
    list_display = ["name", "prefix", "owner", "scope_list", "state", "last_used", "expires_at"]
    search_fields = ["name", "prefix", "owner__email"]
    ordering = ["-created_at", "-pk"]
    autocomplete_fields = ["owner"]
    actions = ["revoke_selected"]
    page_actions = (
        PageAction(
            name="rotate",
            label="Rotate…",
            form_class=RotateApiKeyForm,
            is_offered=lambda key: key.is_live(timezone.now()) and not hasattr(key, "replaced_by"),
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return with_owners(super().get_queryset(request)).select_related("owner", "replaced_by")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        if obj is None:
            return ["name", "owner", "scopes", "daily_cap", "expires_at", "reason"]
        return [
            "name",
            "prefix",
            "owner",
            "scope_list",
            "daily_cap",
            "state",
            "last_used_at",
            "last_used_address",
            "created_at",
            "expires_at",
            "revoked_at",
        ]

    def save_model(
        self, request: HttpRequest, obj: Any, form: forms.ModelForm, change: Any
    ) -> None:
        created, obj.secret = create_api_key(
            **form.cleaned_data, actor=actor_of(request), at=timezone.now()
        )
        obj.pk = created.pk

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        return secret_page(request, self, obj, obj.secret)

    def act(self, request: HttpRequest, object_id: str, *, action: PageAction) -> HttpResponse:
        page = super().act(request, object_id, action=action)
        if isinstance(page, NewSecret):
            return secret_page(request, self, page.key, page.secret)
        return page

    @display(description="scopes")
    def scope_list(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @display(
        description="state",
        label={
            "live": "success",
            "rotated, still live": "warning",
            "revoked": "danger",
            "expired": "warning",
            "ended with its owner": "danger",
        },
    )
    def state(self, key: ApiKey) -> str:
        if key.revoked_at:
            return "revoked"
        if not key.is_live(timezone.now()):
            return "expired"
        if not is_lent(key):
            return "ended with its owner"
        return "rotated, still live" if hasattr(key, "replaced_by") else "live"

    @display(description="last used", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> str:
        return last_use(key)

    @action(description="Revoke selected API keys…")
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return confirm(self, request, queryset, form_class=RevokeApiKeysForm)


def last_use(key: ApiKey) -> str:
    if key.last_used_at is None:
        return "never"
    from_where = f" from {key.last_used_address}" if key.last_used_address else ""
    return f"{key.last_used_at:%Y-%m-%d %H:%M} UTC{from_where}"


def secret_page(
    request: HttpRequest, modeladmin: ModelAdmin, key: ApiKey, secret: str
) -> HttpResponse:
    """Show the secret on this one answer; a message would be stored until it is shown."""
    context = {
        **modeladmin.admin_site.each_context(request),
        "title": "API key created",
        "opts": modeladmin.model._meta,
        "key": key,
        "secret": secret,
    }
    return TemplateResponse(request, "admin/api_key_created.html", context)
