"""Callers of the API, and what it refuses, for tests of its doors."""

import uuid
from typing import Any

from django.utils import timezone
from rest_framework.test import APIClient

from accounts.api.tokens import token_pair
from accounts.choices import ApiScope
from accounts.models import User
from accounts.services.api_keys import create_api_key
from accounts.tests.factories import StaffFactory, UserFactory
from ledger.models import Wallet
from ledger.queries.wallets import wallet_of

BALANCE = {
    "user_id",
    "team_id",
    "current_credits",
    "available",
    "held",
    "awards",
    "purchases",
    "partner",
    "debt",
    "credit_status",
    "last_updated",
}


class Caller:
    """Somebody who calls /api/ with credentials of their own."""

    def __init__(self, authorization: str) -> None:
        self.client = APIClient(HTTP_AUTHORIZATION=authorization)

    def get(self, path: str, query: dict[str, Any] | None = None) -> Any:
        return self.client.get(f"/api/{path}", query)

    def post(self, path: str, body: object = None, key: str | None = None) -> Any:
        headers = {"HTTP_IDEMPOTENCY_KEY": key} if key else {}
        return self.client.post(f"/api/{path}", {} if body is None else body, **headers)

    def put(self, path: str, body: object = None) -> Any:
        return self.client.put(f"/api/{path}", {} if body is None else body)

    def patch(self, path: str, body: object = None, key: str | None = None) -> Any:
        headers = {"HTTP_IDEMPOTENCY_KEY": key} if key else {}
        return self.client.patch(f"/api/{path}", {} if body is None else body, **headers)

    def delete(self, path: str, query: str = "", key: str | None = None) -> Any:
        headers = {"HTTP_IDEMPOTENCY_KEY": key} if key else {}
        return self.client.delete(f"/api/{path}{query}", **headers)


def as_user(user: User) -> Caller:
    return Caller(f"Bearer {token_pair(user)['access']}")


def as_service(*scopes: str, owner: User | None = None, daily_cap: int | None = None) -> Caller:
    """Return a service with a key of these scopes, all when left out."""
    _, secret = create_api_key(
        name=f"Service {uuid.uuid4()}",
        owner=owner or StaffFactory(),
        scopes=scopes or ApiScope.values,
        daily_cap=daily_cap,
        actor=None,
        at=timezone.now(),
    )
    return Caller(f"Api-Key {secret}")


def poor_user(**fields: Any) -> User:
    """Return a user with a wallet and no credits."""
    return UserFactory(role=None, **fields)


def wallet_id_of(user: User) -> int:
    return wallet_of(user).pk


def figures_of(user: User) -> tuple[int, int, int, int, int]:
    """Return award, partner, purchase, held and version of a user's wallet."""
    wallet = Wallet.objects.get(user=user)
    return wallet.award, wallet.partner, wallet.purchase, wallet.held, wallet.version


def refused(response: Any) -> tuple[int, str]:
    """Return status and code of a refusal that is a whole problem document."""
    assert response["Content-Type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == response.status_code
    assert document["detail"]
    assert document["type"] == f"urn:creditsite:problem:{document['code']}"
    return response.status_code, document["code"]


def wrong_fields(response: Any) -> list[str]:
    """Return the names of the fields that a 400 complains of."""
    assert refused(response) == (400, "invalid_request")
    return sorted(response.json()["errors"])
