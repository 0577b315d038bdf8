"""Costs of projects in money, as the services of a platform tell them."""

from collections.abc import Mapping
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.callers import caller_of
from billing.services.project_costs import LARGEST_COST, PERIOD, Cost, record_costs
from creditsite.apikit.fields import StrictChar, StrictInteger, StrictSerializer, UserIdField
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView, body_of
from ledger.api.usage import EventKeyField, invalid

MAX_COSTS = 1_000


class CostMoney(StrictSerializer):
    amount_minor = StrictInteger(min_value=1, max_value=LARGEST_COST)
    currency = StrictChar(max_length=3, help_text="By ISO 4217, in lower case.")


class ProjectCostRequest(StrictSerializer):
    idempotency_key = EventKeyField()
    project = StrictChar(max_length=200)
    user_id = UserIdField(help_text="Whose project it is.")
    cost = CostMoney()
    period = serializers.RegexField(
        rf"^{PERIOD.pattern}$", help_text="The month or day it is for: 2026-01 or 2026-01-31."
    )
    description = StrictChar(max_length=250, required=False)
    reference_id = StrictChar(
        max_length=200,
        required=False,
        help_text="Of usage of the project. If that was charged in credits, the cost never is.",
    )


@extend_schema_field(ProjectCostRequest(many=True))
class CostsField(serializers.ListField):
    """A list of whatever was sent: costs are validated one by one, so a bad one harms no other."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_length=1, max_length=MAX_COSTS, **kwargs)


class ProjectCostsRequest(StrictSerializer):
    costs = CostsField(help_text="1 to 1,000 of them.")


class ProjectCostResult(serializers.Serializer):
    idempotency_key = serializers.CharField(
        allow_null=True, help_text="Of the cost; null if it had none that can be read."
    )
    status = serializers.ChoiceField(choices=["accepted", "replayed", "refused"])
    cost_id = serializers.UUIDField(required=False)
    code = serializers.CharField(required=False, help_text="Why it was refused.")
    detail = serializers.CharField(required=False, help_text="The same for people.")
    errors = serializers.DictField(  # type: ignore[assignment]  # as in problem documents
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="Of a cost that is not valid: messages by field.",
    )


class ProjectCostsDocument(serializers.Serializer):
    results = ProjectCostResult(many=True, help_text="In the order of the costs.")


class ProjectCostsView(ApiView):
    @operation("recordProjectCosts", body=ProjectCostsRequest, answers={200: ProjectCostsDocument})
    def post(self, request: Request) -> Response:
        """
        Tell what projects cost in money; at the next refresh it becomes credits, once each.

        A cost that is refused, or not even valid, harms no other: its result says why.
        """
        sent = body_of(request, ProjectCostsRequest)["costs"]
        results: list[dict[str, Any] | None] = [None] * len(sent)
        costs: dict[int, Cost] = {}
        reader = ProjectCostRequest()
        for index, item in enumerate(sent):
            try:
                costs[index] = cost_of(reader.run_validation(item))
            except serializers.ValidationError as wrong:
                results[index] = invalid(item, wrong)
        recorded = record_costs(
            costs=list(costs.values()), caller=caller_of(request), at=timezone.now()
        )
        for index, result in zip(costs, recorded, strict=True):
            document = {
                "idempotency_key": result.idempotency_key,
                "status": result.status,
                "cost_id": result.cost_id,
                "code": result.code,
                "detail": result.why,
            }
            results[index] = {name: value for name, value in document.items() if value is not None}
        return Response({"results": results})


def cost_of(body: Mapping[str, Any]) -> Cost:
    return Cost(
        idempotency_key=body["idempotency_key"],
        user_id=body["user_id"],
        project=body["project"],
        amount_minor=body["cost"]["amount_minor"],
        currency=body["cost"]["currency"],
        period=body["period"],
        description=body.get("description", ""),
        reference_id=body.get("reference_id", ""),
    )
