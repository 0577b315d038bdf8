from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import Role
from accounts.services.roles import save_role
from creditsite.adminkit import ModelAdmin, actor_of


@admin.register(Role)
class RoleAdmin(ModelAdmin):
    list_display = ["name", "code", "allotment", "pool_seats"]
    search_fields = ["name", "code"]
    ordering = ["allotment", "code"]
    fields = ["code", "name", "allotment", "pool_seats"]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["code"] if obj else []

    def save_model(self, request: HttpRequest, obj: Role, form: ModelForm, change: Any) -> None:
        save_role(role=obj, actor=actor_of(request), at=timezone.now())
