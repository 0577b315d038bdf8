"""The search of the admin's menu."""

from django.contrib import admin
from django.core.paginator import InvalidPage
from django.http import Http404, HttpRequest, HttpResponse


def search(request: HttpRequest) -> HttpResponse:
    """
    Answer as Unfold does.

    :raises Http404: the page of results that is asked for is none, on which Unfold breaks.
    """
    try:
        return admin.site.search(request)  # type: ignore[attr-defined]
    except InvalidPage as error:
        raise Http404 from error
