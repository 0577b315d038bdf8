"""
What every staff page is made of, and the only module that knows Unfold.

Admins, filters and decorators come from here; so do the pages that ask before they act.
"""

import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from unfold import widgets
from unfold.admin import ModelAdmin as UnfoldModelAdmin
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    DropdownFilter,
    RangeDateTimeFilter,
    RangeNumericFilter,
    RelatedDropdownFilter,
)
from unfold.contrib.filters.admin import RangeDateFilter as UnfoldRangeDateFilter
from unfold.decorators import action, display
from unfold.paginator import InfinitePaginator as UnfoldInfinitePaginator

from creditsite.errors import CreditsiteError
from creditsite.formfields import (
    AsciiIntegerField,
    ReasonField,
    SignedAsciiIntegerField,
    TextField,
)

__all__ = [
    "AsciiIntegerField",
    "AutocompleteSelectFilter",
    "CheckboxSelectMultiple",
    "ChoicesDropdownFilter",
    "ConfirmationForm",
    "DropdownFilter",
    "InfinitePaginator",
    "ModelAdmin",
    "RangeDateFilter",
    "RangeDateTimeFilter",
    "RangeNumericFilter",
    "ReadOnlyAdmin",
    "ReasonField",
    "RelatedDropdownFilter",
    "SignedAsciiIntegerField",
    "TabularInline",
    "TextField",
    "action",
    "actor_of",
    "confirm",
    "confirm_one",
    "display",
    "styled",
]

# A selection is listed in full before it is acted on; what is larger is a batch.
LARGEST_SELECTION = 500

CheckboxSelectMultiple = widgets.UnfoldAdminCheckboxSelectMultipleWidget

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
                bounds[f"{self.parameter_name}__gte"] = midnight(date.fromisoformat(str(first)))
            if last := self.used_parameters.get(f"{self.parameter_name}_to"):
                day_after = date.fromisoformat(str(last)) + timedelta(days=1)
                bounds[f"{self.parameter_name}__lt"] = midnight(day_after)
        except (ValueError, OverflowError):
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


class ModelAdmin(UnfoldModelAdmin):
    """
    Our base: deletes nothing, counts no table it need not count, and shows refusals as messages.

    The audit record is the only history: "History" leads there, and Django's log is not written.
    """

    list_per_page = 50
    list_filter_submit = True
    show_full_result_count = False
    show_facets = UnfoldModelAdmin.show_facets.NEVER

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def formfield_for_dbfield(self, db_field, request, **kwargs):
        """Offer no pop-ups that edit what a field points to; that has a page of its own."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget
        return field

    def changeform_view(self, request, object_id=None, form_url="", extra_context=None):
        seen_by = {"show_history": request.user.has_perm("audit.view_auditevent")}
        try:
            return super().changeform_view(
                request, object_id, form_url, seen_by | (extra_context or {})
            )
        except CreditsiteError as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def history_view(self, request, object_id, extra_context=None):
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        target = {"target_type": self.model._meta.label_lower, "target_id": object_id}
        return HttpResponseRedirect(
            f"{reverse('admin:audit_auditevent_changelist')}?{urlencode(target)}"
        )

    def log_addition(self, request, obj, message):
        """Leave it to the audit record."""

    def log_change(self, request, obj, message):
        """Leave it to the audit record."""


class ReadOnlyAdmin(ModelAdmin):
    """Books of record: staff look, and act through named actions with their own permission."""

    def has_add_permission(self, request: HttpRequest) -> bool:
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

    def apply(self, *, actor: Any, at: datetime) -> str:
        """
        Do it, and return the message that says what happened.

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

    Return the page to show, or ``None`` when it is done. All objects change or none.
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
        return ask(modeladmin, request, objects, form_class, back=request.get_full_path())
    modeladmin.message_user(request, refusal, messages.ERROR)
    return None


def confirm_one(
    modeladmin: ModelAdmin,
    request: HttpRequest,
    object_id: Any,
    form_class: type[ConfirmationForm],
) -> HttpResponse:
    """Do the same about one object from its own page, and return there when it is done."""
    instance = modeladmin.get_object(request, str(object_id))
    if instance is None:
        raise Http404
    opts = modeladmin.model._meta
    back = reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[instance.pk])
    page = ask(modeladmin, request, [instance], form_class, back=back)
    return page or HttpResponseRedirect(back)


def ask(
    modeladmin: ModelAdmin,
    request: HttpRequest,
    objects: Sequence[Model],
    form_class: type[ConfirmationForm],
    *,
    back: str,
) -> HttpResponse | None:
    """Return the page that asks, or ``None`` once ``form_class`` is applied to ``objects``."""
    confirmed = "confirmed" in request.POST
    form = form_class(request.POST if confirmed else None, objects=objects)
    if confirmed and form.is_valid():
        try:
            with transaction.atomic():
                message = form.apply(actor=actor_of(request), at=timezone.now())
        except CreditsiteError as refusal:
            form.add_error(None, str(refusal))
        else:
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
    }
    return TemplateResponse(request, "admin/confirm_action.html", context)
