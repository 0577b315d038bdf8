"""
What every staff page is made of, and the only module that knows Unfold.

Admins, filters and decorators come from here; so do the pages that ask before they act.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import CharField, Field, ForeignKey, IntegerField, Model, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import urlencode
from unfold import widgets
from unfold.admin import ModelAdmin as UnfoldModelAdmin
from unfold.admin import TabularInline as UnfoldTabularInline
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    DropdownFilter,
    RangeDateTimeFilter,
    RangeNumericFilter,
    RelatedDropdownFilter,
    TextFilter,
)
from unfold.contrib.filters.admin import RangeDateFilter as UnfoldRangeDateFilter
from unfold.decorators import action, display
from unfold.paginator import InfinitePaginator as UnfoldInfinitePaginator

from creditsite.errors import CreditsiteError
from creditsite.formfields import (
    AsciiDecimalField,
    AsciiIntegerField,
    DayField,
    InstantField,
    ObjectField,
    ReasonField,
    SignedAsciiIntegerField,
    TextField,
)
from creditsite.recent import is_late, late_message, sign_in_again

__all__ = [
    "AsciiDecimalField",
    "AsciiIntegerField",
    "AutocompleteSelectFilter",
    "CheckboxSelectMultiple",
    "ChoicesDropdownFilter",
    "ConfirmationForm",
    "DayField",
    "DropdownFilter",
    "FileWidget",
    "InfinitePaginator",
    "InstantField",
    "ModelAdmin",
    "ObjectField",
    "PageAction",
    "RangeDateFilter",
    "RangeDateTimeFilter",
    "RangeNumericFilter",
    "ReadOnlyAdmin",
    "ReasonField",
    "RelatedDropdownFilter",
    "SignedAsciiIntegerField",
    "TabularInline",
    "TextField",
    "TextFilter",
    "action",
    "actor_of",
    "ask",
    "confirm",
    "confirm_one",
    "display",
    "styled",
]

# A selection is listed in full before it is acted on; what is larger is a batch.
LARGEST_SELECTION = 500
MOST_ACTS_IN_A_BAR = 4

CheckboxSelectMultiple = widgets.UnfoldAdminCheckboxSelectMultipleWidget
FileWidget = widgets.UnfoldAdminFileFieldWidget

# In this order: a password box is an input too.
LOOKS: list[tuple[type[forms.Widget], list[str]]] = [
    (forms.CheckboxInput, widgets.CHECKBOX_CLASSES),
    (forms.Textarea, widgets.TEXTAREA_CLASSES),
    (forms.Select, widgets.SELECT_CLASSES),
    (forms.widgets.Input, widgets.INPUT_CLASSES),
]


class RangeDateFilter(UnfoldRangeDateFilter):
    """
    Days of an instant in UTC, the last one included: Unfold's range ends where the last day begins.

    What is no date finds nothing, rather than everything.
    """

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        bounds = {}
        try:
            if first := self.used_parameters.get(f"{self.parameter_name}_from"):
                bounds[f"{self.parameter_name}__gte"] = midnight(DayField().clean(str(first)))
            if last := self.used_parameters.get(f"{self.parameter_name}_to"):
                day_after = DayField().clean(str(last)) + timedelta(days=1)
                bounds[f"{self.parameter_name}__lt"] = midnight(day_after)
        except (ValidationError, OverflowError):
            return queryset.none()
        return queryset.filter(**bounds)


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


class InfinitePaginator(UnfoldInfinitePaginator):
    """
    Pages of a table too large to be counted, as far as anyone turns them by hand.

    Unfold knows by its name that there is no number of results to show.
    """

    @property
    def count(self) -> int:
        return self.per_page * 200


def styled(form: forms.BaseForm) -> None:
    """Give the plain widgets of ``form`` the look of the admin."""
    for field in form.fields.values():
        for widget_class, classes in LOOKS:
            if isinstance(field.widget, widget_class) and not field.widget.is_hidden:
                field.widget.attrs.setdefault("class", " ".join(classes))
                break


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAction:
    """One act on a page's object, as the table of permissions names it, and the form for it."""

    name: str
    label: str
    form_class: type["ConfirmationForm"]
    is_offered: Callable[[Any], bool] = lambda instance: True
    is_primary: bool = False


def strict(db_field: Field) -> dict[str, Any]:
    """Return what makes the form field of ``db_field`` take exactly what was sent."""
    if db_field.choices:
        return {}
    if type(db_field) is CharField:
        return {"form_class": TextField}
    if isinstance(db_field, ForeignKey):
        return {"form_class": ObjectField}
    if isinstance(db_field, IntegerField):
        lowest, highest = connection.ops.integer_field_range(db_field.get_internal_type())
        form_class = SignedAsciiIntegerField if lowest < 0 else AsciiIntegerField
        return {"form_class": form_class, "min_value": lowest, "max_value": highest}
    return {}


class ByTable:
    """What the one table of permissions lets whoever asks do with a model, superuser or not."""

    model: type[Model]

    def may(self, request: HttpRequest, permission: str | None) -> bool:
        """Return whether they have ``permission``; what the table does not list has none."""
        return permission is not None and actor_of(request).may(permission)

    def permission_of(self, request: HttpRequest, name: str) -> str | None:
        """Return what it takes to ``view``, ``add`` or ``change``."""
        user = actor_of(request)
        return user.permission_of(self.model._meta.label_lower, name) if user.pk else None

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may(request, self.permission_of(request, "view"))

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may(request, self.permission_of(request, "add"))

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may(request, self.permission_of(request, "change"))

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)


class TabularInline(ByTable, UnfoldTabularInline):
    """Rows of another model on the page of theirs, for who may see them."""


class ModelAdmin(ByTable, UnfoldModelAdmin):
    """
    Our base: deletes nothing, counts no table it need not count, and shows refusals as messages.

    What is done to one object is one of ``page_actions``, each at an address of its own; what is
    done to a selection is one of ``actions``. The permission of each is in the table.

    The audit record is the only history: "History" leads there, and Django's log is not written.
    """

    page_actions: tuple[PageAction, ...] = ()
    # A template of its own shows them; otherwise they stand in Unfold's bar.
    shows_acts_itself = False
    list_per_page = 50
    list_filter_submit = True
    show_full_result_count = False
    show_facets = UnfoldModelAdmin.show_facets.NEVER

    def permission_of_act(self, request: HttpRequest, act: str) -> str | None:
        """Return what it takes to do ``act``."""
        return actor_of(request).permission_of_act(self.model._meta.label_lower, act)

    def may_act(self, request: HttpRequest, act: str) -> bool:
        return self.may(request, self.permission_of_act(request, act))

    def _filter_actions_by_permissions(self, request, actions):
        return [each for each in actions if self.may_act(request, each[1])]

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
        """Ask about one act on one object, and do it once that is confirmed."""
        instance = self.get_object(request, object_id)
        if instance is not None and not action.is_offered(instance):
            self.message_user(request, "That is not possible here, or no longer.", messages.WARNING)
            return HttpResponseRedirect(self.page_url(instance, "change"))
        return confirm_one(self, request, object_id, action.form_class, act=action.name)

    def page_url(self, instance: Model, name: str) -> str:
        opts = self.model._meta
        return reverse(f"admin:{opts.app_label}_{opts.model_name}_{name}", args=[instance.pk])

    def offered(self, request: HttpRequest, instance: Model) -> list[dict[str, Any]]:
        """Return the acts that are possible here and open to whoever asks, as templates show."""
        return [
            {
                "name": action.name,
                "title": action.label,
                "is_primary": action.is_primary,
                "path": self.page_url(instance, action.name),
            }
            for action in self.page_actions
            if self.may_act(request, action.name) and action.is_offered(instance)
        ]

    def render_change_form(
        self,
        request: HttpRequest,
        context: Mapping[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Model | None = None,
    ) -> HttpResponse:
        if obj is not None:
            context = {"page_actions": self.offered(request, obj), **context}
            if not self.shows_acts_itself:
                context["actions_detail"] = in_a_bar(context["page_actions"])
        return super().render_change_form(request, context, add, change, form_url, obj)

    def formfield_for_dbfield(self, db_field, request, **kwargs):
        """
        Take exactly what was sent, whatever Django's own fields would make of it.

        No pop-ups are offered that edit what a field points to; that has a page of its own.
        """
        field = super().formfield_for_dbfield(db_field, request, **strict(db_field) | kwargs)
        if field and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget
        return field

    def is_late(self, request: HttpRequest, verb: str) -> bool:
        """Return whether to ``add`` or ``change`` takes a fresher sign-in of who may do so."""
        permission = self.permission_of(request, verb)
        return self.may(request, permission) and is_late(request, permission)

    def get_form(self, request, obj=None, change=False, **kwargs):
        """Refuse what is sent too late as an error of the form, which keeps what was typed."""
        form_class = super().get_form(request, obj, change=change, **kwargs)
        if request.method != "POST" or not self.is_late(request, "change" if obj else "add"):
            return form_class

        class LateForm(form_class):  # type: ignore[misc,valid-type]
            def clean(self):
                super().clean()
                self.add_error(None, late_message())

        return LateForm

    def get_object(self, request, object_id, from_field=None):
        """Take no field for the key, rather than break, as Django does on ``?_to_field=``."""
        return super().get_object(request, object_id, from_field or None)

    def changeform_view(self, request, object_id=None, form_url="", extra_context=None):
        seen_by = {"show_history": request.user.may("audit.view_auditevent")}
        verb = "change" if object_id else "add"
        if request.method == "GET" and self.is_late(request, verb):
            return sign_in_again(request)
        try:
            return super().changeform_view(
                request, object_id, form_url, seen_by | (extra_context or {})
            )
        except CreditsiteError as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def history_view(self, request, object_id, extra_context=None):
        target = {"target_type": self.model._meta.label_lower, "target_id": object_id}
        return HttpResponseRedirect(
            f"{reverse('admin:audit_auditevent_changelist')}?{urlencode(target)}"
        )

    def log_addition(self, request, obj, message):
        """Leave it to the audit record."""

    def log_change(self, request, obj, message):
        """Leave it to the audit record."""


def in_a_bar(acts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return ``acts`` for Unfold's bar: those that a laptop has no room for are behind "More"."""
    if len(acts) <= MOST_ACTS_IN_A_BAR:
        return [*acts]
    shown, behind = acts[: MOST_ACTS_IN_A_BAR - 1], acts[MOST_ACTS_IN_A_BAR - 1 :]
    return [*shown, {"title": "More", "method_name": "more", "items": behind}]


class ReadOnlyAdmin(ModelAdmin):
    """Books of record: staff look, and act through named acts, whatever the table says."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ConfirmationForm(forms.Form):
    """
    Asks before it acts: a reason, a typed phrase where one is set, and a list of what will change.

    A subclass sets ``title``, may set ``phrase``, and writes ``apply()``. ``request_id`` is made
    with the page, so what is keyed on ``idempotency_key`` happens once however often it is sent.
    """

    title: ClassVar[str]
    button: ClassVar[str] = ""
    # One of its own fills the block "changes" in.
    template: ClassVar[str] = "admin/confirm_action.html"
    # True for what takes away: its button is red.
    is_dangerous: ClassVar[bool] = False
    # False where the service keeps a record of whom it refused, in a transaction of its own.
    is_atomic: ClassVar[bool] = True
    reason = ReasonField()
    confirmation = forms.CharField(
        strip=False, label="Confirmation", widget=forms.TextInput({"autocomplete": "off"})
    )
    request_id = forms.UUIDField(initial=uuid.uuid4, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, objects: Sequence[Any], **kwargs: Any) -> None:
        self.objects = objects
        super().__init__(data, **kwargs)
        # Asked for last, after whatever fields the subclass brings.
        self.order_fields([name for name in self.fields if name not in {"reason", "confirmation"}])
        if self.phrase:
            self.fields["confirmation"].help_text = f"Type exactly: {self.phrase}"
        else:
            del self.fields["confirmation"]
        styled(self)

    @property
    def phrase(self) -> str:
        """What must be typed to confirm; nothing by default."""
        return ""

    @property
    def object(self) -> Any:
        """The one object of a page about one."""
        return self.objects[0]

    @property
    def idempotency_key(self) -> str:
        return f"admin:{self.cleaned_data['request_id']}"

    def clean_confirmation(self) -> str:
        typed = self.cleaned_data["confirmation"]
        if typed != self.phrase:
            raise forms.ValidationError("That is not what is to be typed.")
        return typed

    def changes(self) -> list[str]:
        """Return a line for each thing that will change, computed by the code that does it."""
        return [str(each) for each in self.objects]

    def apply(self, *, actor: Any, at: datetime) -> str | HttpResponseBase:
        """
        Do it, and return the message that says what happened, or else what to answer: a file to
        download, or the way to the page of what was made.

        :raises CreditsiteError: it was refused; the page shows why and nothing has changed.
        """
        raise NotImplementedError


def actor_of(request: HttpRequest) -> Any:
    """Return the member of staff who asks: the admin lets in nobody who is not signed in."""
    return request.user


def confirm(
    modeladmin: ModelAdmin,
    request: HttpRequest,
    queryset: QuerySet,
    form_class: type[ConfirmationForm],
) -> HttpResponse | None:
    """
    Show ``form_class`` about the selected ``queryset``, and apply it once it is confirmed.

    Return the page to show, or ``None`` when it is done. All objects change or none. The act is the
    chosen action of the list.
    """
    selected = request.POST.getlist(ACTION_CHECKBOX_NAME) if "confirmed" in request.POST else []
    if selected:
        # What the page listed, even where the list's filters no longer show it.
        queryset = modeladmin.get_queryset(request).filter(pk__in=selected)
    objects = list(queryset.order_by("pk")[: LARGEST_SELECTION + 1])
    if len(objects) > LARGEST_SELECTION:
        refusal = f"Select at most {LARGEST_SELECTION} at a time."
    elif len(objects) < len(selected):
        refusal = "Some of what was selected is no longer there. Nothing was changed."
    else:
        act = request.POST.get("action", "")
        return ask(modeladmin, request, objects, form_class, act=act, back=request.get_full_path())
    modeladmin.message_user(request, refusal, messages.ERROR)
    return None


def confirm_one(
    modeladmin: ModelAdmin,
    request: HttpRequest,
    object_id: Any,
    form_class: type[ConfirmationForm],
    *,
    act: str,
) -> HttpResponse:
    """
    Do the same about one object from its own page, for the act ``act`` of the table.

    Return there when it is done; to the list, if the object is no more.
    """
    instance = modeladmin.get_object(request, str(object_id))
    if instance is None:
        raise Http404
    back = modeladmin.page_url(instance, "change")
    page = ask(modeladmin, request, [instance], form_class, act=act, back=back)
    if page is None and instance.pk is None:
        opts = modeladmin.model._meta
        back = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
    return page or HttpResponseRedirect(back)


def ask(
    modeladmin: ModelAdmin,
    request: HttpRequest,
    objects: Sequence[Any],
    form_class: type[ConfirmationForm],
    *,
    act: str,
    back: str,
) -> HttpResponse | None:
    """
    Return the page that asks, or ``None`` once ``form_class`` is applied to ``objects``.

    ``modeladmin.permission_of_act(request, act)`` is what it takes.
    """
    confirmed = "confirmed" in request.POST
    late = is_late(request, modeladmin.permission_of_act(request, act))
    if late and request.method == "GET":
        return sign_in_again(request)
    files = request.FILES if confirmed else None
    form = form_class(request.POST if confirmed else None, objects=objects, files=files)
    if confirmed and form.is_valid() and not late:
        try:
            with transaction.atomic() if form.is_atomic else nullcontext():
                message = form.apply(actor=actor_of(request), at=timezone.now())
        except CreditsiteError as refusal:
            form.add_error(None, str(refusal))
        else:
            if isinstance(message, HttpResponseBase):
                return cast("HttpResponse", message)  # a file that is read while it is sent
            modeladmin.message_user(request, message, messages.SUCCESS)
            return None
    context = {
        **modeladmin.admin_site.each_context(request),
        "title": form.title,
        "opts": modeladmin.model._meta,
        "form": form,
        "media": form.media,
        "action_name": request.POST.get("action", ""),
        "action_checkbox_name": ACTION_CHECKBOX_NAME,
        "back": back,
        "late_message": late_message() if late else "",
    }
    return TemplateResponse(request, form.template, context)
