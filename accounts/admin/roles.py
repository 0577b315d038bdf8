from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import Role, User
from accounts.services.roles import delete_role, save_role
from creditsite.adminkit import (
    ConfirmationForm,
    ModelAdmin,
    PageAction,
    ReasonField,
    actor_of,
    styled,
)


class RoleForm(forms.ModelForm):
    """A role, and why it is made or changed."""

    reason = ReasonField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        styled(self)


class DeleteRoleForm(ConfirmationForm):
    title = "Delete the role"

    @property
    def phrase(self) -> str:
        return f"DELETE {self.object.code}"

    def changes(self) -> list[str]:
        return [f"{self.object} is no more; its record stays"]

    def apply(self, *, actor: User, at: datetime) -> str:
        name = str(self.object)
        delete_role(role=self.object, actor=actor, reason=self.cleaned_data["reason"], at=at)
        return f"Deleted the role {name}."


@admin.register(Role)
class RoleAdmin(ModelAdmin):
    list_display = ["name", "code", "allotment", "pool_seats"]
    search_fields = ["name", "code"]
    ordering = ["allotment", "code"]
    form = RoleForm
    page_actions = (PageAction(name="delete", label="Delete…", form_class=DeleteRoleForm),)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        fields = ["code", "name", "allotment", "pool_seats"]
        may_save = self.has_change_permission(request) if obj else self.has_add_permission(request)
        return [*fields, "reason"] if may_save else fields

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["code"] if obj else []

    def save_model(
        self, request: HttpRequest, obj: Role, form: forms.ModelForm, change: Any
    ) -> None:
        reason = form.cleaned_data["reason"]
        save_role(role=obj, actor=actor_of(request), at=timezone.now(), reason=reason)
