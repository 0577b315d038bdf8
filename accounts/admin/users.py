from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from accounts.choices import StaffGroup
from accounts.models import User
from accounts.permissions import staff_may
from accounts.services import users
from creditsite.adminkit import (
    CheckboxSelectMultiple,
    ConfirmationForm,
    ModelAdmin,
    RangeDateFilter,
    ReasonField,
    RelatedDropdownFilter,
    TextField,
    action,
    actor_of,
    confirm_one,
    display,
    styled,
)

# What nobody changes about their own account, by the permission that it takes about another's.
RIGHTS = {
    "accounts.assign_role": ["role"],
    "accounts.manage_staff": ["is_agent", "is_active", "is_staff", "groups"],
}


class UserForm(forms.ModelForm):
    """A user's page: each change needs the reason and goes through the service of its field."""

    name = TextField(max_length=150, required=False)
    reason = ReasonField(required=False)
    # What the page showed; if somebody changed it meanwhile, the page is refused.
    shown = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        groups = self.fields.get("groups")
        if isinstance(groups, forms.ModelMultipleChoiceField):
            groups.queryset = Group.objects.filter(name__in=StaffGroup).order_by("name")
        if self.instance.pk:
            self.fields["shown"].initial = self.state()
        styled(self)

    def state(self) -> str:
        groups = sorted(self.instance.groups.values_list("pk", flat=True))
        flags = [self.instance.is_agent, self.instance.is_active, self.instance.is_staff]
        return repr([self.instance.name, self.instance.role_id, flags, groups])

    def clean(self) -> None:
        super().clean()
        if self.changes() and not self.cleaned_data.get("reason"):
            self.add_error("reason", "A change needs a reason.")

    def clean_shown(self) -> str:
        shown = self.cleaned_data["shown"]
        if self.instance.pk and shown != self.state():
            raise forms.ValidationError(
                "Somebody has changed this user meanwhile. Open the page again."
            )
        return shown

    def changes(self) -> set[str]:
        return set(self.changed_data) - {"reason", "shown"}


class SetPasswordForm(ConfirmationForm):
    title = "Set a new password"

    password = forms.CharField(
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
        label="New password",
    )
    repeated = forms.CharField(
        strip=False, widget=forms.PasswordInput({"autocomplete": "new-password"}), label="Again"
    )

    def changes(self) -> list[str]:
        return [f"The password of {self.object}; their sessions and tokens end"]

    def clean_repeated(self) -> str:
        repeated = self.cleaned_data["repeated"]
        if repeated != self.cleaned_data.get("password"):
            raise forms.ValidationError("The two passwords differ.")
        return repeated

    def apply(self, *, actor: User, at: datetime) -> str:
        password, reason = self.cleaned_data["password"], self.cleaned_data["reason"]
        users.set_password(user=self.object, password=password, actor=actor, reason=reason, at=at)
        return f"{self.object} has a new password."


@admin.register(User)
class UserAdmin(ModelAdmin):
    form = UserForm
    list_display = ["email", "name", "role", "flags", "is_active", "date_joined"]
    list_filter = [
        "is_active",
        "is_partner",
        "is_agent",
        "is_staff",
        ("role", RelatedDropdownFilter),
        ("date_joined", RangeDateFilter),
    ]
    list_select_related = ["role"]
    search_fields = ["email", "name"]
    ordering = ["-date_joined", "-pk"]
    actions_detail = ["set_password"]
    readonly_fields = ["is_partner", "referral_code", "referrer", "date_joined", "last_login"]

    @display(description="is also")
    def flags(self, user: User) -> str:
        kinds = {"partner": user.is_partner, "agent": user.is_agent, "staff": user.is_staff}
        return ", ".join(kind for kind, applies in kinds.items() if applies)

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> list[tuple]:
        why = ("Why", {"fields": ["reason", "shown"]})
        if obj is None:
            return [(None, {"fields": ["email", "name", "role"]}), why]
        fieldsets = [
            (None, {"fields": ["email", "name", "role", "is_partner", "is_agent", "is_active"]}),
            ("Staff", {"fields": ["is_staff", "groups"]}),
            ("Origin", {"fields": ["date_joined", "last_login", "referral_code", "referrer"]}),
        ]
        return [*fieldsets, why] if self.has_change_permission(request, obj) else fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        fixed = [*self.readonly_fields, "email"] if obj else [*self.readonly_fields]
        for permission, fields in RIGHTS.items():
            if obj == request.user or not staff_may(request.user, permission):
                fixed += fields
        return fixed

    def formfield_for_manytomany(self, db_field, request, **kwargs):
        kwargs["widget"] = CheckboxSelectMultiple()
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: User, form: UserForm, change: bool) -> None:
        given, changed = form.cleaned_data, form.changes()
        record = {"actor": actor_of(request), "reason": given["reason"], "at": timezone.now()}
        if not change:
            obj.pk = users.create_user(
                email=obj.email, name=given["name"], role=given.get("role"), **record
            ).pk
        if change and "name" in changed:
            users.rename_user(user=obj, name=given["name"], **record)
        if change and "role" in changed:
            users.change_role(user=obj, role=given["role"], **record)
        if "is_agent" in changed:
            users.change_agent(user=obj, is_agent=given["is_agent"], **record)
        if "is_active" in changed:
            move = users.activate_user if given["is_active"] else users.deactivate_user
            move(user=obj, **record)
        if changed & {"is_staff", "groups"}:
            groups = [StaffGroup(group.name) for group in given["groups"]]
            users.set_staff_groups(user=obj, is_staff=given["is_staff"], groups=groups, **record)

    def save_related(self, request, form, formsets, change) -> None:
        """The groups are saved by their service."""

    @action(description="Set a new password…", permissions=["password"])
    @method_decorator(sensitive_post_parameters("password", "repeated"))
    def set_password(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return confirm_one(self, request, object_id, SetPasswordForm)

    def has_password_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return staff_may(request.user, "accounts.manage_staff")
