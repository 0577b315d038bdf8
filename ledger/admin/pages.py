"""Pages that explain one row of the books, with the acts that its state and the reader allow."""

from collections.abc import Mapping
from typing import Any

from django.db.models import Model
from django.http import HttpRequest, HttpResponse

from creditsite.adminkit import ModelAdmin


class ExplainingAdmin(ModelAdmin):
    """Shows ``admin/ledger/<model>/change_form.html`` with what ``explain`` returns."""

    shows_acts_itself = True

    class Media:
        css = {"all": ["ledger/staff.css"]}

    def explain(self, request: HttpRequest, instance: Any) -> dict[str, Any]:
        """Return what the template of ``instance`` is given."""
        return {}

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
            context = {**context, **self.explain(request, obj)}
        return super().render_change_form(request, context, add, change, form_url, obj)
