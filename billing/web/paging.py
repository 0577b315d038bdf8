"""Lists of the portal in pages, newest first."""

import re
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

PAGE = 20


def page_before(request: HttpRequest, rows: QuerySet, by: str) -> tuple[list[Any], int | None]:
    """
    Return a page of ``rows`` from what ``?before=`` says on, and what the next page is before.

    :param by: a field of whole numbers, by which they are ordered.
    """
    before = request.GET.get("before", "")
    if re.fullmatch(r"[0-9]{1,18}", before):
        rows = rows.filter(**{f"{by}__lt": int(before)})
    found = list(rows.order_by(f"-{by}")[: PAGE + 1])
    older = getattr(found[PAGE - 1], by) if len(found) > PAGE else None
    return found[:PAGE], older
