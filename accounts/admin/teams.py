from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.identity import normalise_email
from accounts.models import Team, TeamMembership, User
from accounts.services.teams import (
    add_member,
    create_team,
    delete_team,
    remove_member,
    rename_team,
)
from creditsite.adminkit import (
    ConfirmationForm,
    ModelAdmin,
    PageAction,
    ReasonField,
    TabularInline,
    TextField,
    actor_of,
    display,
    styled,
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


class TeamForm(forms.ModelForm):
    """A team, and why it is made or renamed."""

    reason = ReasonField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        styled(self)


class DeleteTeamForm(ConfirmationForm):
    title = "Delete the team"

    @property
    def phrase(self) -> str:
        return f"DELETE {self.object}"

    def changes(self) -> list[str]:
        return [f"{self.object} is no more; its record stays"]

    def apply(self, *, actor: User, at: datetime) -> str:
        name = str(self.object)
        delete_team(team=self.object, actor=actor, reason=self.cleaned_data["reason"], at=at)
        return f"Deleted the team {name}."


class MembershipInline(TabularInline):
    model = TeamMembership
    fields = readonly_fields = ["user", "created_at"]
    extra = 0
    hide_title = True
    can_delete = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[TeamMembership]:
        return super().get_queryset(request).select_related("user", "team").order_by("user__email")


@admin.register(Team)
class TeamAdmin(ModelAdmin):
    list_display = ["name", "pool", "members", "created_at"]
    list_select_related = ["owner"]
    search_fields = ["name", "owner__email"]
    ordering = ["name", "pk"]
    form = TeamForm
    autocomplete_fields = ["owner"]
    inlines = [MembershipInline]
    page_actions = (
        PageAction(name="add_member", label="Add a member…", form_class=AddMemberForm),
        PageAction(name="remove_member", label="Remove a member…", form_class=RemoveMemberForm),
        PageAction(name="delete", label="Delete…", form_class=DeleteTeamForm),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        return super().get_queryset(request).annotate(member_count=Count("memberships"))

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        fields = ["name", "owner", "created_at"]
        may_save = self.has_change_permission(request) if obj else self.has_add_permission(request)
        return [*fields, "reason"] if may_save else fields

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["owner", "created_at"] if obj else ["created_at"]

    def save_model(
        self, request: HttpRequest, obj: Team, form: forms.ModelForm, change: Any
    ) -> None:
        reason = form.cleaned_data["reason"]
        record = {"actor": actor_of(request), "at": timezone.now(), "reason": reason}
        if not change:
            obj.pk = create_team(name=obj.name, owner=obj.owner, **record).pk
        elif "name" in form.changed_data:
            rename_team(team=obj, name=obj.name, **record)

    @display(description="pool")
    def pool(self, team: Team) -> str:
        return f"wallet of {team.owner}" if team.owner else "its own wallet"

    @display(description="members", ordering="member_count")
    def members(self, team: Any) -> int:
        return team.member_count
