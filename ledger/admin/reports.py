"""Pages of reports: which there are, each with its figures and a picture, and each as a file."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from creditsite.adminkit import DayField, ReadOnlyAdmin, actor_of, styled
from creditsite.charts import Picture, Series, Shape
from creditsite.money import digits_of, format_money, in_units
from creditsite.recent import is_late, late_message, sign_in_again
from ledger.figures import figure
from ledger.models import Report as Reports
from ledger.queries.figures import business_day
from ledger.queries.settings import settings_at
from ledger.reports import REPORTS
from ledger.reports.shapes import Chart, Column, Kind, Period, Report, ReportKind, Row, Takes
from ledger.services.reports import about, currency_of, export_report

EARLIEST, LATEST = date(2000, 1, 1), date(2999, 12, 31)
LONGEST_YEARS = 10
# Of a longer report the page shows the beginning, and the file has all.
MOST_ROWS = 400
# More of them stand closer.
MOST_COLUMNS = 11
# As many things that are no days have room beside each other in a picture.
MOST_BARS = 12
FIGURES = {Kind.CREDITS, Kind.COUNT, Kind.MONEY, Kind.COST, Kind.PERCENT}
DAYS = {Kind.DAY, Kind.MONTH}


def day_field(label: str) -> DayField:
    return DayField(
        label=label, validators=[MinValueValidator(EARLIEST), MaxValueValidator(LATEST)]
    )


class PeriodForm(forms.Form):
    """From which day to which, both included; without any, the month so far."""

    first = day_field("First day")
    last = day_field("Last day")

    def __init__(self, data: Any, *, today: date) -> None:
        self.presets = presets(today)
        super().__init__(data or self.presets[0][1])
        styled(self)

    def clean(self) -> None:
        first, last = self.cleaned_data.get("first"), self.cleaned_data.get("last")
        if first and last and first > last:
            raise ValidationError("The first day comes after the last.")
        if first and last and last.year - first.year > LONGEST_YEARS:
            raise ValidationError(f"Ask for {LONGEST_YEARS} years at most.")

    @property
    def period(self) -> Period:
        return Period(self.cleaned_data["first"], self.cleaned_data["last"])


class DayForm(forms.Form):
    """At the end of which day; without any, today's."""

    day = day_field("At the end of")

    def __init__(self, data: Any, *, today: date) -> None:
        self.presets = [
            (label, {"day": str(day)})
            for label, day in [
                ("Today", today),
                ("Last month", first_of_month(today) - timedelta(days=1)),
                ("Last year", date(today.year - 1, 12, 31)),
            ]
        ]
        super().__init__(data or self.presets[0][1])
        styled(self)

    @property
    def period(self) -> Period:
        return Period(self.cleaned_data["day"], self.cleaned_data["day"])


class NoForm(forms.Form):
    """Of a report of the present."""

    presets: Sequence[Any] = ()

    def __init__(self, data: Any, *, today: date) -> None:
        self.period = Period(today, today)
        super().__init__(data or {"": ""})


FORMS: dict[Takes, type[PeriodForm | DayForm | NoForm]] = {
    Takes.PERIOD: PeriodForm,
    Takes.DAY: DayForm,
    Takes.NOW: NoForm,
}


def presets(today: date) -> list[tuple[str, dict[str, str]]]:
    """Return what is asked for most, as name and fields of the form."""
    month = first_of_month(today)
    last_month = first_of_month(month - timedelta(days=1))
    quarter = month.replace(month=(month.month - 1) // 3 * 3 + 1)
    year = month.replace(month=1)
    days = [
        ("This month", month, today),
        ("Last month", last_month, month - timedelta(days=1)),
        ("This quarter", quarter, today),
        ("This year", year, today),
        ("Last year", year.replace(year=year.year - 1), year - timedelta(days=1)),
    ]
    return [(name, {"first": str(first), "last": str(last)}) for name, first, last in days]


def first_of_month(day: date) -> date:
    return day.replace(day=1)


def cells(columns: Sequence[Column], row: Row) -> list[dict[str, Any]]:
    """Return a row as the page shows it."""
    currency = currency_of(columns, row)
    return [
        {
            "label": column.label,
            "is_figure": column.kind in FIGURES,
            "text": written(column.kind, value, currency),
        }
        for column, value in zip(columns, row, strict=True)
    ]


def total_cells(columns: Sequence[Column], row: Row) -> list[dict[str, Any]]:
    """Return a row of totals as the page shows it: of "All", where it has no name of its own."""
    shown = cells(columns, row)
    return [shown[0] | {"text": "All"}, *shown[1:]] if row[0] is None else shown


def written(kind: Kind, value: Any, currency: str) -> str:
    """Return a value as people read it; money in units of ``currency``."""
    if value is None:
        return "–"
    match kind:
        case Kind.CREDITS | Kind.COUNT:
            return figure(value)
        case Kind.MONEY:
            return figure(in_units(value, currency))
        case Kind.COST:
            return f"{value.normalize():f}"
        case Kind.PERCENT:
            return f"{value} %"
        case Kind.CURRENCY:
            return str(value).upper()
        case Kind.MONTH:
            return f"{value:%Y-%m}"
    return str(value)


def pictures(report: Report, rows: Sequence[Row]) -> list[Picture]:
    """Return what is drawn of ``rows``: a picture for each value of the chart's ``per``, or one."""
    chart = report.chart
    if chart is None or not rows:
        return []
    place = {column.name: index for index, column in enumerate(report.columns)}
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row[place[chart.per]]) if chart.per else "", []).append(row)
    return [picture_of(report, chart, group, group_rows) for group, group_rows in groups.items()]


def picture_of(report: Report, chart: Chart, group: str, rows: Sequence[Row]) -> Picture:
    """Draw ``rows``; those about the same day or thing are added up."""
    place = {column.name: index for index, column in enumerate(report.columns)}
    x, ys = place[chart.x], [place[name] for name in chart.ys]
    is_of_days = report.columns[x].kind in DAYS
    sums: dict[Any, list[int]] = {}
    for row in rows:
        known = sums.setdefault(row[x], [0] * len(ys))
        for number, y in enumerate(ys):
            known[number] += row[y] or 0
    shown = [*sums.items()] if is_of_days else [*sums.items()][:MOST_BARS]
    is_money = report.columns[ys[0]].kind == Kind.MONEY
    currency = currency_of(report.columns, rows[0]) if is_money else ""
    labels = [label_of(report.columns[x].kind, value) for value, _ in shown]
    shape = Shape.LINE if chart.kind == "line" else Shape.BARS
    series = [
        Series(report.columns[y].label, [values[number] for _, values in shown])
        for number, y in enumerate(ys)
    ]
    title = f"{report.title}: {series[0].name.lower()}" if len(series) == 1 else report.title
    return Picture(
        title=f"{title}, {group.upper()}" if group else title,
        labels=labels,
        series=series,
        shape=shape if is_of_days else Shape.RANKS,
        is_beside=chart.kind == "beside",
        digits=digits_of(currency) if is_money else 0,
        says=partial(format_money, currency=currency) if is_money else figure,
    )


def label_of(kind: Kind, value: Any) -> str:
    if kind == Kind.DAY:
        return f"{value.day} {value:%b}"
    return f"{value:%b %Y}" if kind == Kind.MONTH else str(value)


@admin.register(Reports)
class ReportAdmin(ReadOnlyAdmin):
    """
    The reports, at addresses of their own: ``REPORTS`` says what there is.

    They only look; what is taken away as a file is recorded.
    """

    class Media:
        css = {"all": ["ledger/staff.css", "ledger/reports.css"]}

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("", wrap(self.index_view), name="ledger_report_changelist"),
            path("<slug:object_id>/", wrap(self.report_view), name="ledger_report_page"),
            path("<slug:object_id>/export/", wrap(self.export_view), name="ledger_report_export"),
        ]

    def index_view(self, request: HttpRequest) -> HttpResponse:
        """List the reports."""
        if request.method == "POST":
            return HttpResponseNotAllowed(["GET", "HEAD"])
        kinds = [kind for kind in REPORTS.values() if self.may(request, kind.permission)]
        return self.page(request, "index", "Reports", kinds=kinds)

    def report_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show a report: its figures, a picture of them, and what they are."""
        if request.method == "POST":
            return HttpResponseNotAllowed(["GET", "HEAD"])
        kind, form, at = self.asked(request, object_id)
        shown = {} if not form.is_valid() else self.shown(kind, form.period, at)
        export = {"may_export": self.may_act(request, "export")}
        return self.page(request, "report", kind.title, kind=kind, form=form, **shown, **export)

    def shown(self, kind: ReportKind, period: Period, at: datetime) -> dict[str, Any]:
        report = kind.build(period, at)
        rows = [*islice(report.rows, MOST_ROWS + 1)]
        has_more, rows = len(rows) > MOST_ROWS, rows[:MOST_ROWS]
        return {
            "report": report,
            "about": about(kind, period, at),
            "rows": [cells(report.columns, row) for row in rows],
            "totals": [total_cells(report.columns, row) for row in report.totals],
            "is_wide": len(report.columns) > MOST_COLUMNS,
            "headings": [(c.label, c.kind in FIGURES) for c in report.columns],
            "most_rows": MOST_ROWS if has_more else 0,
            "pictures": pictures(report, rows),
            "at": at,
            "zone": settings_at(at).time_zone,
        }

    def export_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Send a report as a file; before that, ask whoever comes by its address."""
        kind, form, at = self.asked(request, object_id)
        if not form.is_valid():
            return HttpResponseRedirect(f"{page_of(kind)}?{request.GET.urlencode()}")
        late = is_late(request, self.permission_of_act(request, "export"))
        if late and request.method == "GET":
            return sign_in_again(request)
        if late or request.method != "POST":
            return self.page(
                request,
                "export",
                f"{kind.title} as a file",
                kind=kind,
                about=about(kind, form.period, at),
                late_message=late_message() if late else "",
            )
        lines = export_report(kind=kind, period=form.period, actor=actor_of(request), at=at)
        name = f"{kind.slug}-{form.period.first}-{form.period.last}.csv"
        return StreamingHttpResponse(
            lines,
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def asked(
        self, request: HttpRequest, slug: str
    ) -> tuple[ReportKind, PeriodForm | DayForm | NoForm, datetime]:
        """
        Return the report that is asked for, the days as they were asked, and the present instant.

        :raises Http404: there is no such report for whoever asks.
        """
        kind = REPORTS.get(slug)
        if kind is None or not self.may(request, kind.permission):
            raise Http404
        at = timezone.now()
        return kind, FORMS[kind.takes](request.GET or None, today=business_day(at)), at

    def page(self, request: HttpRequest, name: str, title: str, **context: Any) -> HttpResponse:
        """Return the page of a template of ours."""
        return TemplateResponse(
            request,
            f"admin/reports/{name}.html",
            {
                **self.admin_site.each_context(request),
                "title": title,
                "opts": self.model._meta,
                "media": self.media,
                **context,
            },
        )


def page_of(kind: ReportKind) -> str:
    return reverse("admin:ledger_report_page", args=[kind.slug])
