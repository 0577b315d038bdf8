"""How answers tell that a request was a repeat."""

from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from ledger.services.posting import Posting


def answer(document: BaseSerializer, posted: Posting, status: int = 200) -> Response:
    """Answer ``document``; with ``Idempotent-Replayed: true`` if the key had its effect before."""
    headers = {} if posted.is_new else {"Idempotent-Replayed": "true"}
    return Response(document.data, status, headers=headers)
