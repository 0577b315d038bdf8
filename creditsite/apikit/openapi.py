"""Saying in the schema what an operation takes, answers and refuses."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import APIException
from rest_framework.serializers import BaseSerializer

from creditsite.apikit.problems import CODES
from creditsite.errors import CreditsiteError

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
    OpenApiParameter.HEADER,
    description="The same key and request have one effect, for ever. A service key must send one.",
)
REFUSALS = "x-refusals"


def operation(
    name: str,
    *,
    answers: Mapping[int, type[BaseSerializer] | None],
    body: type[BaseSerializer] | None = None,
    refusals: Sequence[type[CreditsiteError | APIException]] = (),
    takes_key: bool = False,
) -> Callable[[Any], Any]:
    """
    Document a method of a view; its docstring is the description.

    ``name`` is what generated clients call it. ``refusals`` are the refusals of its own; those
    that any operation may give (400, 401, 403, 429 …) are added to all of them.
    """
    refused: dict[str, list[str]] = {}
    for refusal in refusals:
        status, code = status_and_code(refusal)
        refused.setdefault(str(status), []).append(code)
    return extend_schema(
        operation_id=name,
        request=body,
        responses=dict(answers),
        parameters=[IDEMPOTENCY_KEY] if takes_key else [],
        extensions={REFUSALS: refused},
    )


def status_and_code(refusal: type[CreditsiteError | APIException]) -> tuple[int, str]:
    if issubclass(refusal, CreditsiteError):
        return refusal.status, refusal.code
    return refusal.status_code, CODES.get(refusal.status_code, refusal.default_code)
