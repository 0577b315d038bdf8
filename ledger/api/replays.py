"""How answers tell that a request was a repeat."""

from typing import Any

from rest_framework.response import Response
from rest_framework.serializers import Serializer

from creditsite.apikit.views import document_of
from ledger.services.posting import Posting


def answer(
    document_class: type[Serializer], facts: Any, posted: Posting, status: int = 200
) -> Response:
    """Answer with a document; ``Idempotent-Replayed: true`` if the key had its effect before."""
    headers = {} if posted.is_new else {"Idempotent-Replayed": "true"}
    return Response(document_of(document_class, facts), status, headers=headers)
