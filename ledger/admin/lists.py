"""What the lists of the books share: figures, searches by owner, pages that count nothing."""

from datetime import datetime
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from creditsite.adminkit import DropdownFilter, InfinitePaginator, ReadOnlyAdmin
from ledger.choices import CreditType
from ledger.models import Feature, Wallet
from ledger.queries.wallets import owned_by as owned_by


class BooksAdmin(ReadOnlyAdmin):
    """
    A list of the books, the latest first, that neither counts nor sorts a large table.

    With ``?wallet__id__exact=`` it is that of one wallet, and says so.
    """

    paginator = InfinitePaginator
    sortable_by: list[str] = []
    list_before_template: str | None = "admin/ledger/of_wallet.html"
    title = ""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context: dict[str, Any] = {"title": self.title}
        wallet_id = request.GET.get("wallet__id__exact", "")
        if wallet_id.isascii() and wallet_id.isdigit() and len(wallet_id) < 19:
            context["of_wallet"] = Wallet.objects.with_owner().filter(pk=wallet_id).first()
        return super().changelist_view(request, context | (extra_context or {}))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LatestFirst


class LatestFirst(ChangeList):
    """A list whose pages are at hand as lists, read once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)


class CreditTypeFilter(DropdownFilter):
    """Transactions that moved credits of a type."""

    title, parameter_name = "credit type", "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(CreditType.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.exclude(**{self.value(): 0}) if self.value() in CreditType else queryset


class FeatureFilter(DropdownFilter):
    """What was charged for a feature, alone or together with others."""

    title = parameter_name = "feature"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        codes = Feature.objects.order_by("code").values_list("code", flat=True)
        return [(code, code) for code in codes]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if not (code := self.value()):
            return queryset
        return queryset.filter(
            Q(feature=code)
            | Q(feature__startswith=f"{code}+")
            | Q(feature__endswith=f"+{code}")
            | Q(feature__contains=f"+{code}+")
        )


def two_lines(first: str, second: str) -> SafeString:
    """Return a cell with a fact and, smaller, what goes with it."""
    if not second:
        return format_html("<span>{}</span>", first)
    return format_html('<span>{}<br><span class="cs-muted">{}</span></span>', first, second)


def minute(at: datetime | None) -> str:
    """Return an instant in UTC as lists show it."""
    return f"{at:%Y-%m-%d %H:%M}" if at else "–"
