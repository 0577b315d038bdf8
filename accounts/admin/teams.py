from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.identity import normalise_email
from accounts.models import Team, TeamMembership, User
from accounts.services.teams import add_member, create_team, remove_member, rename_team
from creditsite.adminkit import (
    ConfirmationForm,
    ModelAdmin,
    TabularInline,
    TextField,
    action,
    actor_of,
    confirm_one,
    display,
)


class MemberForm(ConfirmationForm):
    email = TextField(max_length=254, label="E-mail of the member")

    def clean_email(self) -> User:
        user = User.objects.filter(email=normalise_email(self.cleaned_data["email"])).first()
        if user is None:
            raise forms.ValidationError("Nobody has this e-mail address.")
        return user


class AddMemberForm(MemberForm):
    title = "Add a member"

    def changes(self) -> list[str]:
        return [f"{self.object}: one more member"]

    def apply(self, *, actor: User, at: datetime) -> str:
        user, reason = self.cleaned_data["email"], self.cleaned_data["reason"]
        add_member(team=self.object, user=user, actor=actor, at=at, reason=reason)
        return f"Added {user} to {self.object}."


class RemoveMemberForm(MemberForm):
    title = "Remove a member"

    def changes(self) -> list[str]:
        return [f"{self.object}: one member less"]

    def apply(self, *, actor: User, at: datetime) -> str:
        user, reason = self.cleaned_data["email"], self.cleaned_data["reason"]
        remove_member(team=self.object, user=user, actor=actor, at=at, reason=reason)
        return f"Removed {user} from {self.object}."


class MembershipInline(TabularInline):
    model = TeamMembership
    fields = readonly_fields = ["user", "created_at"]
    extra = 0
    hide_title = True
    can_delete = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[TeamMembership]:
        return super().get_queryset(request).select_related("user", "team").order_by("user__email")

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Team)
class TeamAdmin(ModelAdmin):
    list_display = ["name", "pool", "members", "created_at"]
    list_select_related = ["owner"]
    search_fields = ["name", "owner__email"]
    ordering = ["name", "pk"]
    fields = ["name", "owner", "created_at"]
    autocomplete_fields = ["owner"]
    inlines = [MembershipInline]
    actions_detail = ["add_member", "remove_member"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        return super().get_queryset(request).annotate(member_count=Count("memberships"))

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["owner", "created_at"] if obj else ["created_at"]

    def save_model(
        self, request: HttpRequest, obj: Team, form: forms.ModelForm, change: Any
    ) -> None:
        if not change:
            team = create_team(
                name=obj.name, owner=obj.owner, actor=actor_of(request), at=timezone.now()
            )
            obj.pk = team.pk
        elif form.changed_data:
            rename_team(team=obj, name=obj.name, actor=actor_of(request), at=timezone.now())

    @display(description="pool")
    def pool(self, team: Team) -> str:
        return f"wallet of {team.owner}" if team.owner else "its own wallet"

    @display(description="members", ordering="member_count")
    def members(self, team: Any) -> int:
        return team.member_count

    @action(description="Add a member…", permissions=["change"])
    def add_member(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return confirm_one(self, request, object_id, AddMemberForm)

    @action(description="Remove a member…", permissions=["change"])
    def remove_member(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return confirm_one(self, request, object_id, RemoveMemberForm)
