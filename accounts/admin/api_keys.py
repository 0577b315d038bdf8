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
from accounts.permissions import staff_may
from accounts.services.api_keys import create_api_key, revoke_api_key
from creditsite.adminkit import (
    CheckboxSelectMultiple,
    ConfirmationForm,
    ModelAdmin,
    action,
    actor_of,
    confirm,
    display,
)


class NewApiKeyForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in ApiScope.values], widget=CheckboxSelectMultiple
    )


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
    list_display = ["name", "prefix", "owner", "scope_list", "state", "created_at", "expires_at"]
    list_select_related = ["owner"]
    search_fields = ["name", "prefix", "owner__email"]
    ordering = ["-created_at", "-pk"]
    autocomplete_fields = ["owner"]
    actions = ["revoke_selected"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return super().get_queryset(request).select_related("owner")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        if obj is None:
            return ["name", "owner", "scopes", "expires_at"]
        return [
            "name",
            "prefix",
            "owner",
            "scope_list",
            "state",
            "created_at",
            "expires_at",
            "revoked_at",
        ]

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return staff_may(request.user, "accounts.add_apikey")

    def has_revoke_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return staff_may(request.user, "accounts.revoke_apikey")

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
        """Show the secret on this one answer; a message would be stored until it is shown."""
        context = {
            **self.admin_site.each_context(request),
            "title": "API key created",
            "opts": self.model._meta,
            "key": obj,
        }
        return TemplateResponse(request, "admin/api_key_created.html", context)

    @display(description="scopes")
    def scope_list(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @display(
        description="state", label={"live": "success", "revoked": "danger", "expired": "warning"}
    )
    def state(self, key: ApiKey) -> str:
        if key.revoked_at:
            return "revoked"
        return "expired" if key.expires_at and key.expires_at <= timezone.now() else "live"

    @action(description="Revoke selected API keys…", permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return confirm(self, request, queryset, form_class=RevokeApiKeysForm)
