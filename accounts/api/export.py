"""What we hold about the caller, to take along."""

from typing import cast

from django.http import StreamingHttpResponse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request

from accounts.models import User
from accounts.services.data_export import SCHEMA, VERSION, export_user
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView


def rows(help_text: str) -> serializers.ListField:
    return serializers.ListField(child=serializers.DictField(), help_text=help_text)


class ExportDocument(serializers.Serializer):
    """Everything we hold about a person. More sections and members may come."""

    schema = serializers.ChoiceField(choices=[SCHEMA])
    version = serializers.ChoiceField(choices=[VERSION])
    exported_at = serializers.DateTimeField()
    profile = serializers.DictField()
    teams = rows("Teams that the user owns or has a seat in.")
    api_keys = rows("Keys that the user answers for; never the keys themselves.")
    emails = rows("E-mails sent to the user, without their text.")
    sign_in_methods = rows("Second factors, without their secrets.")
    sessions = rows("Where the user is signed in on the web.")
    events = rows("The record of what the user did and of what was done to what is theirs.")
    wallet = serializers.DictField()
    grants = rows("Credits given to the user.")
    transactions = rows("Every movement of the user's wallet.")
    spent_from_pools = rows("What the user spent from wallets of teams.")
    holds = rows("Credits that were reserved for jobs.")
    debts = rows("Credits that the user owes or owed.")


class ExportView(ApiView):
    throttle_scope = "export"

    @operation("exportMe", answers={200: ExportDocument})
    def get(self, request: Request) -> StreamingHttpResponse:
        """Everything we hold about the caller, and nothing about others. It is recorded."""
        user = cast("User", request.user)
        document = export_user(user=user, actor=user, reason="", at=timezone.now())
        return StreamingHttpResponse(
            document,
            content_type="application/json",
            headers={
                "Content-Disposition": f'attachment; filename="user-{user.pk}.json"',
                "Cache-Control": "no-store",
            },
        )
