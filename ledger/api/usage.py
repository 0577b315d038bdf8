"""Usage in batches: every event stands for itself."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, cast

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.callers import VISIBLE_ASCII, caller_of, daily_cap_of, is_service
from accounts.models import User
from creditsite.apikit.fields import (
    QuantityField,
    StrictChar,
    StrictDateTime,
    StrictSerializer,
    UserIdField,
)
from creditsite.apikit.openapi import operation
from creditsite.apikit.problems import flat_errors
from creditsite.apikit.views import ApiView, body_of
from creditsite.errors import InvalidRequest, NotFound
from ledger.api.fields import MAX_CODE_LENGTH
from ledger.services.metering import UsageEvent, UsageResult, record_usage

MAX_EVENTS = 1_000
# How far ahead of ours the clock of whoever reports usage may go.
CLOCK_SKEW = timedelta(minutes=5)


class EventKeyField(serializers.RegexField):
    """An idempotency key, to the letter."""

    default_error_messages = {"invalid": "This must be 1 to 255 visible ASCII characters."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(rf"^{VISIBLE_ASCII.pattern}$", trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or not VISIBLE_ASCII.fullmatch(data):
            self.fail("invalid")
        return data


class UsageEventRequest(StrictSerializer):
    idempotency_key = EventKeyField()
    user_id = UserIdField(required=False, help_text="Who used it; a service must name them.")
    feature = StrictChar(max_length=MAX_CODE_LENGTH)
    quantity = QuantityField()
    reference_id = StrictChar(max_length=200, required=False)
    occurred_at = StrictDateTime(required=False, help_text="Picks the price; now if left out.")


@extend_schema_field(UsageEventRequest(many=True))
class EventsField(serializers.ListField):
    """A list of whatever was sent: events are validated one by one, so a bad one harms no other."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_length=1, max_length=MAX_EVENTS, **kwargs)


class UsageBatchRequest(StrictSerializer):
    events = EventsField(help_text="1 to 1,000 of them.")


class UsageResultDocument(serializers.Serializer):
    idempotency_key = serializers.CharField(
        allow_null=True, help_text="Of the event; null if it had none that can be read."
    )
    status = serializers.ChoiceField(choices=["charged", "replayed", "refused"])
    transaction_id = serializers.UUIDField(required=False)
    code = serializers.CharField(required=False, help_text="Why it was refused.")
    errors = serializers.DictField(  # type: ignore[assignment]  # as in problem documents
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="Of an event that is not valid: messages by field.",
    )


class UsageBatchDocument(serializers.Serializer):
    results = UsageResultDocument(many=True, help_text="In the order of the events.")


class UsageBatchView(ApiView):
    throttle_scope = "spend"

    @operation("recordUsage", body=UsageBatchRequest, answers={200: UsageBatchDocument})
    def post(self, request: Request) -> Response:
        """
        Charge many events, each a spend of its own under its own key, to whoever pays for its user.

        An event that is refused, or not even valid, harms no other: its result says why.
        """
        at = timezone.now()
        sent = body_of(request, UsageBatchRequest)["events"]
        results: list[dict[str, Any] | None] = [None] * len(sent)
        events: dict[int, UsageEvent] = {}
        bodies = dict(enumerate(read_events(sent, at, by_service=is_service(request))))
        users = chargeable_users(request, bodies.values())
        for index, body in bodies.items():
            if isinstance(body, serializers.ValidationError):
                results[index] = invalid(sent[index], body)
            elif (user_id := body.get("user_id") or cast("User", request.user).pk) not in users:
                results[index] = refused(body["idempotency_key"], NotFound.code)
            else:
                events[index] = event_of(body, user_id)
        recorded = record_usage(
            events=list(events.values()),
            caller=caller_of(request),
            at=at,
            daily_cap=daily_cap_of(request),
        )
        for index, result in zip(events, recorded, strict=True):
            results[index] = document_of(result)
        return Response({"results": results})


def read_events(
    sent: Sequence[Any], at: datetime, *, by_service: bool
) -> Iterator[dict[str, Any] | serializers.ValidationError]:
    """Yield for each event what it says, or what is wrong with it."""
    reader = UsageEventRequest()
    for event in sent:
        try:
            body = reader.run_validation(event)
            if by_service and "user_id" not in body:
                raise serializers.ValidationError({"user_id": ["A service must name the user."]})
            if body.get("occurred_at", at) > at + CLOCK_SKEW:
                raise serializers.ValidationError({"occurred_at": ["This lies in the future."]})
        except serializers.ValidationError as wrong:
            yield wrong
        else:
            yield body


def chargeable_users(request: Request, bodies: Iterable[Any]) -> Container[int]:
    """Return the ids of the users whom the caller may charge, of those that were named."""
    if not is_service(request):
        return {cast("User", request.user).pk}
    named = {body["user_id"] for body in bodies if isinstance(body, dict)}
    return set(User.objects.filter(pk__in=named, is_active=True).values_list("pk", flat=True))


def event_of(body: Mapping[str, Any], user_id: int) -> UsageEvent:
    return UsageEvent(
        idempotency_key=body["idempotency_key"],
        user_id=user_id,
        quantities={body["feature"]: body["quantity"]},
        reference_id=body.get("reference_id", ""),
        occurred_at=body.get("occurred_at"),
    )


def invalid(event: Any, wrong: serializers.ValidationError) -> dict[str, Any]:
    key = event.get("idempotency_key") if isinstance(event, dict) else None
    readable = isinstance(key, str) and VISIBLE_ASCII.fullmatch(key)
    return {
        **refused(key if readable else None, InvalidRequest.code),
        "errors": flat_errors(wrong.detail),
    }


def refused(key: str | None, code: str) -> dict[str, Any]:
    return {"idempotency_key": key, "status": "refused", "code": code}


def document_of(result: UsageResult) -> dict[str, Any]:
    return {name: value for name, value in asdict(result).items() if value is not None}
