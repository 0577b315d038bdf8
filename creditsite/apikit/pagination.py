"""Lists in pages: mostly newest first, by keys and not by offsets, and without counting."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, cast

from django.core import signing
from django.db.models import Field, Model, Q, QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from creditsite.apikit.fields import QueryInteger, QuerySerializer, StrictChar

MAX_PAGE_SIZE = 200


class ListQuery(QuerySerializer):
    """The query parameters of every list; a list with filters of its own extends it."""

    cursor = StrictChar(
        max_length=500, required=False, help_text="As found in `next` or `previous`."
    )
    page_size = QueryInteger(min_value=1, max_value=MAX_PAGE_SIZE, default=50)


def page_response(
    request: Request,
    rows: QuerySet,
    *,
    by: Sequence[str],
    query: Mapping[str, Any],
    document: type[serializers.Serializer],
    newest_first: bool = True,
) -> Response:
    """
    Answer one page of ``rows`` as ``{"next", "previous", "results"}``, each row as ``document``.

    ``by`` are fields of the model, compared in this order and descending, or ascending unless
    ``newest_first``; together they are unique within ``rows`` and never null. ``query`` is what a
    ``ListQuery`` validated. One query; an index over what ``rows`` filters by and ``by`` makes
    every page cost the same.

    :raises ValidationError: the cursor is not one of this list.
    """
    salt = f"cursor:{request.path}:{','.join(by)}"
    size = query["page_size"]
    direction, position = "older", None
    if "cursor" in query:
        direction, position = _read_cursor(query["cursor"], salt, rows.model, by)
    is_forward = direction == "older"  # As most lists go; in others it is the later ones.
    falls = is_forward == newest_first
    if position is not None:
        rows = rows.filter(_beyond(by, position, "lt" if falls else "gt"))
    found = list(rows.order_by(*(f"-{name}" if falls else name for name in by))[: size + 1])
    more, results = len(found) > size, found[:size]
    if not is_forward:
        results.reverse()

    def link(to: str, row: Model) -> str:
        values = [_field(rows.model, name).value_to_string(row) for name in by]
        cursor = signing.Signer(salt=salt).sign_object([to, *values])
        return replace_query_param(request.build_absolute_uri(), "cursor", cursor)

    has_next = more if is_forward else bool(results)
    has_previous = more if not is_forward else bool(results) and position is not None
    return Response(
        {
            "next": link("older", results[-1]) if has_next else None,
            "previous": link("newer", results[0]) if has_previous else None,
            "results": document(results, many=True).data,
        }
    )


def _read_cursor(
    cursor: str, salt: str, model: type[Model], by: Sequence[str]
) -> tuple[str, list[Any]]:
    try:
        direction, *texts = signing.Signer(salt=salt).unsign_object(cursor)
    except signing.BadSignature as forged:
        raise serializers.ValidationError(
            {"cursor": ["This is not a cursor of this list."]}
        ) from forged
    return direction, [
        _field(model, name).to_python(text) for name, text in zip(by, texts, strict=True)
    ]


def _field(model: type[Model], name: str) -> Field:
    return cast("Field", model._meta.get_field(name))


def _beyond(by: Sequence[str], position: Sequence[Any], side: str) -> Q:
    """Rows whose key is on that ``side`` of ``position``, compared field by field."""
    beyond = Q()
    for index, name in enumerate(by):
        equal = dict(zip(by[:index], position[:index], strict=True))
        beyond |= Q(**equal, **{f"{name}__{side}": position[index]})
    # Said a second time for the planner: a range of the index, which an OR is not.
    return Q(**{f"{by[0]}__{side}e": position[0]}) & beyond


@functools.cache
def page_of(document: type[serializers.Serializer]) -> type[serializers.Serializer]:
    """Return the serializer that describes a page of ``document`` in the schema."""
    name = document.__name__.removesuffix("Document") + "Page"
    fields = {
        "next": serializers.URLField(allow_null=True, help_text="The page of older ones."),
        "previous": serializers.URLField(allow_null=True, help_text="The page of newer ones."),
        "results": document(many=True),
    }
    return type(name, (serializers.Serializer,), fields)
