from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from accounts.admin import erasures
from accounts.choices import StaffGroup
from accounts.models import Role, User
from accounts.services import sign_in, users
from creditsite.adminkit import (
    CheckboxSelectMultiple,
    ConfirmationForm,
    ModelAdmin,
    ObjectField,
    PageAction,
    RangeDateFilter,
    ReasonField,
    RelatedDropdownFilter,
    TextField,
    actor_of,
    display,
    styled,
)


class UserForm(forms.ModelForm):
    """A new user, or the name of one; the reason goes with either."""

    name = TextField(max_length=150, required=False)
    reason = ReasonField(required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        styled(self)

    def clean(self) -> None:
        super().clean()
        if set(self.changed_data) - {"reason"} and not self.cleaned_data.get("reason"):
            self.add_error("reason", "A change needs a reason.")


class RightsForm(ConfirmationForm):
    """Sets what a user is; refused if somebody has changed that since the page was opened."""

    shown = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        super().__init__(data, objects=objects, **kwargs)
        self.fields["shown"].initial = self.state()

    def state(self) -> str:
        return repr([self.object.role_id, self.object.is_staff, sorted(self.groups())])

    def groups(self) -> list[str]:
        return list(self.object.groups.values_list("name", flat=True))

    def clean_shown(self) -> str:
        shown = self.cleaned_data["shown"]
        if shown != self.state():
            raise forms.ValidationError(
                "Somebody has changed this user meanwhile. Open the page again."
            )
        return shown


class ChangeRoleForm(RightsForm):
    title = "Change the role"
    role = ObjectField(
        Role.objects.order_by("allotment", "code"), required=False, empty_label="No role"
    )

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        super().__init__(data, objects=objects, **kwargs)
        self.fields["role"].initial = self.object.role_id

    def changes(self) -> list[str]:
        return [f"{self.object} has now: {self.object.role or 'no role'}"]

    def apply(self, *, actor: User, at: datetime) -> str:
        role, reason = self.cleaned_data["role"], self.cleaned_data["reason"]
        users.change_role(user=self.object, role=role, actor=actor, reason=reason, at=at)
        return f"{self.object} has now: {role or 'no role'}."


class StaffForm(RightsForm):
    title = "Set staff groups"
    is_staff = forms.BooleanField(required=False, label="Staff")
    groups_of_staff = forms.MultipleChoiceField(
        choices=StaffGroup.choices, required=False, widget=CheckboxSelectMultiple, label="Groups"
    )

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        super().__init__(data, objects=objects, **kwargs)
        self.fields["is_staff"].initial = self.object.is_staff
        self.fields["groups_of_staff"].initial = self.groups()

    def changes(self) -> list[str]:
        groups = ", ".join(sorted(self.groups())) or "no group"
        state = f"staff in {groups}" if self.object.is_staff else "no staff"
        return [f"{self.object} is now: {state}", "Their sessions and tokens end"]

    def apply(self, *, actor: User, at: datetime) -> str:
        users.set_staff_groups(
            user=self.object,
            is_staff=self.cleaned_data["is_staff"],
            groups=[StaffGroup(name) for name in self.cleaned_data["groups_of_staff"]],
            actor=actor,
            reason=self.cleaned_data["reason"],
            at=at,
        )
        return f"The staff groups of {self.object} are set."


class SwitchForm(ConfirmationForm):
    """Switches something about a user on or off: ``switch`` does it, ``says`` what is so then."""

    switch: ClassVar[Callable[..., User]]
    says: ClassVar[str]

    def changes(self) -> list[str]:
        return [self.says.format(self.object)]

    def apply(self, *, actor: User, at: datetime) -> str:
        self.switch(user=self.object, actor=actor, reason=self.cleaned_data["reason"], at=at)
        return f"{self.changes()[0]}."


class StartAgentForm(SwitchForm):
    title, says = "Make an agent", "{} is an agent"
    switch = partial(users.change_agent, is_agent=True)


class EndAgentForm(SwitchForm):
    title, says = "End agent status", "{} is no agent any more"
    switch = partial(users.change_agent, is_agent=False)


class DeactivateForm(SwitchForm):
    title, says = "Deactivate", "{} is shut out, and their sessions, tokens and API keys are void"
    switch = staticmethod(users.deactivate_user)


class ActivateForm(SwitchForm):
    title, says = "Activate", "{} may sign in again"
    switch = staticmethod(users.activate_user)


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


class ResetFactorsForm(ConfirmationForm):
    title = "Take lost second factors"

    @property
    def phrase(self) -> str:
        return f"RESET {self.object}"

    def changes(self) -> list[str]:
        return [
            f"{self.object} signs in with the password alone, and staff set up a new factor",
            "Their sessions and tokens end, and an e-mail tells them",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        reason = self.cleaned_data["reason"]
        sign_in.reset_factors(user=self.object, actor=actor, reason=reason, at=at)
        return f"{self.object} has no second factor any more."


FIELDS = [
    "email", "name", "role", "is_partner", "is_agent", "is_active",
    "is_staff", "staff_groups",
    "date_joined", "last_login", "referral_code", "referrer",
]  # fmt: skip
# What nobody does to their own account.
RIGHTS = {
    "role", "staff", "start-agent", "end-agent", "deactivate", "activate", "reset_factors",
}  # fmt: skip


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
    page_actions = (
        PageAction(name="role", label="Change the role…", form_class=ChangeRoleForm),
        PageAction(name="staff", label="Set staff groups…", form_class=StaffForm),
        PageAction(
            name="start-agent",
            label="Make an agent…",
            form_class=StartAgentForm,
            is_offered=lambda user: not user.is_agent,
        ),
        PageAction(
            name="end-agent",
            label="End agent status…",
            form_class=EndAgentForm,
            is_offered=lambda user: user.is_agent,
        ),
        PageAction(
            name="deactivate",
            label="Deactivate…",
            form_class=DeactivateForm,
            is_offered=lambda user: user.is_active,
        ),
        PageAction(
            name="activate",
            label="Activate…",
            form_class=ActivateForm,
            is_offered=lambda user: not user.is_active and not user.is_erased,
        ),
        PageAction(name="set_password", label="Set a new password…", form_class=SetPasswordForm),
        PageAction(
            name="reset_factors",
            label="Take lost second factors…",
            form_class=ResetFactorsForm,
            is_offered=sign_in.has_factor,
        ),
        PageAction(
            name="export", label="Export personal data…", form_class=erasures.ExportUserForm
        ),
        PageAction(
            name="erase",
            label="Erase personal data…",
            form_class=erasures.EraseUserForm,
            is_offered=lambda user: not user.is_erased,
        ),
    )

    @display(description="is also")
    def flags(self, user: User) -> str:
        kinds = {"partner": user.is_partner, "agent": user.is_agent, "staff": user.is_staff}
        return ", ".join(kind for kind, applies in kinds.items() if applies)

    @display(description="groups")
    def staff_groups(self, user: User) -> str:
        return ", ".join(user.groups.order_by("name").values_list("name", flat=True)) or "–"

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> list[tuple]:
        why = ("Why", {"fields": ["reason"]})
        if obj is None:
            return [(None, {"fields": ["email", "name", "role"]}), why]
        fieldsets = [
            (None, {"fields": FIELDS[:6]}),
            ("Staff", {"fields": FIELDS[6:8]}),
            ("Origin", {"fields": FIELDS[8:]}),
        ]
        return [*fieldsets, why] if self.has_change_permission(request, obj) else fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        """Leave the name to be changed here; all else has an act of its own."""
        return [name for name in FIELDS if name != "name"] if obj else []

    def offered(self, request: HttpRequest, instance: Model) -> list[dict[str, Any]]:
        acts = super().offered(request, instance)
        return acts if instance != request.user else [a for a in acts if a["name"] not in RIGHTS]

    @method_decorator(sensitive_post_parameters("password", "repeated"))
    def act(self, request: HttpRequest, object_id: str, *, action: PageAction) -> HttpResponse:
        return super().act(request, object_id, action=action)

    def save_model(self, request: HttpRequest, obj: User, form: UserForm, change: bool) -> None:
        given = form.cleaned_data
        record = {"actor": actor_of(request), "reason": given["reason"], "at": timezone.now()}
        if not change:
            obj.pk = users.create_user(
                email=obj.email, name=given["name"], role=given.get("role"), **record
            ).pk
        elif "name" in form.changed_data:
            users.rename_user(user=obj, name=given["name"], **record)
