"""What the pages about sales share."""

from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from creditsite.adminkit import ConfirmationForm, ask
from ledger.admin.lists import LatestFirst
from ledger.admin.pages import ExplainingAdmin


class SaleAdmin(ExplainingAdmin):
    """Pages whose objects are made by ``new_form``, which asks for a reason, and never deleted."""

    new_form: ClassVar[type[ConfirmationForm]]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return LatestFirst

    def permission_of_act(self, request: HttpRequest, act: str) -> str | None:
        if act == "add":
            return self.permission_of(request, "add")
        return super().permission_of_act(request, act)

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        opts = self.model._meta
        back = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
        page = ask(self, request, [], self.new_form, act="add", back=back)
        return page or HttpResponseRedirect(back)
