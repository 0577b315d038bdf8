"""
Hostile values in every field of every operation of the API, by its own OpenAPI document.

None ends as a 5xx, and none is taken for something else: what is accepted is of the type that the
document says, and comes back as it was sent, or as docs/api.md says that it is normalised.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator

from accounts.api.tokens import token_pair
from accounts.choices import ApiScope
from accounts.models import User
from accounts.permissions import API
from accounts.services.api_keys import create_api_key
from billing import gateway
from billing.models import Subscription
from billing.services.subscriptions import settle_subscription
from billing.stripe_sandbox.server import serving
from billing.tests.stripe import visit
from creditsite.testing.hostile import JSON, TEXTS, Raw, body_of, seed, some
from disputes.models import Dispute
from disputes.services.attachments import attach_file
from ledger.models import Wallet

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
# What a line of text is stored as, by docs/api.md.
HEADER_VALUE = re.compile(r"[ -~]*")


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    parameters: dict[tuple[str, str], dict[str, Any]]  # by place and name
    body: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


@dataclass(frozen=True)
class Case:
    operation: Operation
    place: str
    name: str
    value: Any

    def __str__(self) -> str:
        return f"{self.operation}, {self.name} in {self.place} = {str(self.value)[:80]!a}"


class Document:
    """The OpenAPI document, as far as values go."""

    def __init__(self) -> None:
        self.document = SchemaGenerator().get_schema(request=None, public=True)

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if len(schema.get("allOf", [])) == 1:
            return self.resolved(schema["allOf"][0])
        return schema

    def operations(self) -> Iterator[Operation]:
        for path, methods in self.document["paths"].items():
            for method, said in methods.items():
                parameters = {(p["in"], p["name"]): p for p in said.get("parameters", [])}
                content = said.get("requestBody", {}).get("content", {})
                body = content.get("application/json", {}).get("schema", {})
                yield Operation(method, path, parameters, self.resolved(body))

    def fits(self, value: Any, schema: dict[str, Any]) -> bool:
        """Say whether ``value`` is what ``schema`` asks for, not merely something like it."""
        schema = self.resolved(schema)
        for word in ["oneOf", "anyOf"]:
            if word in schema:
                return any(self.fits(value, each) for each in schema[word])
        if "enum" in schema:
            return value in schema["enum"] and isinstance(value, str)
        kinds = schema.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        return not kinds or any(self.is_a(kind, value, schema) for kind in kinds)

    def is_a(self, kind: str, value: Any, schema: dict[str, Any]) -> bool:
        if kind == "null":
            return value is None
        if kind == "boolean":
            return isinstance(value, bool)
        if kind in {"integer", "number"}:
            numbers = (int,) if kind == "integer" else (int, float)
            return (
                isinstance(value, numbers)
                and not isinstance(value, bool)
                and schema.get("minimum", value) <= value <= schema.get("maximum", value)
            )
        if kind == "array":
            return isinstance(value, list) and all(self.fits(v, schema["items"]) for v in value)
        if kind == "object":
            return isinstance(value, dict)
        if not isinstance(value, str):
            return False
        forms = {"uuid": UUID, "date-time": RFC_3339}
        form = forms.get(schema.get("format", ""), re.compile(schema.get("pattern", "")))
        stored = as_text(value)
        return bool(form.search(value)) and len(stored) <= schema.get("maxLength", len(stored))


def as_text(value: str) -> str:
    return unicodedata.normalize("NFC", value).strip()


def means(value: Any, schema: dict[str, Any], name: str) -> Any:
    """Return what ``value`` is stored as."""
    if schema.get("format") == "date-time":
        return datetime.fromisoformat(value)
    if name == "email":
        return unicodedata.normalize("NFKC", value).strip().lower()
    return as_text(value) if isinstance(value, str) else value


def members(answer: Any, name: str) -> Iterator[Any]:
    """Yield what ``answer`` holds by the name of ``name``, wherever."""
    if isinstance(answer, dict):
        for key, value in answer.items():
            if key == name:
                yield value
            yield from members(value, name)
    elif isinstance(answer, list):
        for value in answer:
            yield from members(value, name)


@pytest.fixture
def world(db: None, settings: Any, tmp_path: Path) -> Iterator["World"]:
    settings.API_THROTTLES = dict.fromkeys(settings.API_THROTTLES, (10**9, 60))
    settings.SIGN_IN_LIMITS = dict.fromkeys(settings.SIGN_IN_LIMITS, 10**9)
    call_command("seed_demo", verbosity=0)
    settings.SITE_URL = "http://testserver"
    with serving(state=str(tmp_path / "stripe.sqlite")) as stripe:
        settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE = "sk_test_of_the_tests", stripe.url
        yield World()
        gateway.client_for.cache_clear()


class World:
    """The demo's people, and a request to each operation that is right in every field."""

    def __init__(self) -> None:
        self.document = Document()
        self.client = Client(raise_request_exception=False)
        self.alice, self.finance, self.admin = (
            User.objects.get(email=f"{name}@example.com") for name in ["alice", "finance", "admin"]
        )
        self.tokens = {user.pk: token_pair(user) for user in [self.alice, self.finance, self.admin]}
        wallet = Wallet.objects.get(user=self.alice)
        later = timezone.now() + timedelta(days=30)
        event = {"idempotency_key": "one", "feature": "report", "quantity": 1}
        cost = {
            "idempotency_key": "one",
            "project": "apollo",
            "user_id": self.alice.pk,
            "cost": {"amount_minor": 100, "currency": "usd"},
            "period": "2026-01",
        }
        _, self.key = create_api_key(
            name="A platform",
            owner=self.finance,
            scopes=[ApiScope.BILLING_WRITE],
            actor=None,
            at=timezone.now(),
        )
        self.disputes: dict[str, str] = {}
        self.right: dict[str, Any] = {
            "user_id": self.alice.pk,
            "amount": 100,
            "type": "allocation",
            "code": "WELCOME-K7QX",
            "reason": "For a test of what comes in.",
            "description": "A test of it",
            "note": "For a test of what comes in.",
            "email": "somebody@example.org",
            "password": "correct horse battery",
            "refresh": self.tokens[self.alice.pk]["refresh"],
            "events": [event],
            "costs": [cost],
            "expires_at": later.isoformat(),
            "transaction_id": str(wallet.transactions.first().pk),
            "from": (later - timedelta(days=60)).isoformat(),
            "to": later.isoformat(),
            "Idempotency-Key": "a-key-of-a-test",
            "requested_refund": 1,
            "resolution": "explanation",
            "notes": "For a test of what comes in.",
            "text": "For a test of what comes in.",
            "audience": "user",
            "assignee": self.finance.pk,
            "enabled": False,
            "tier": "growth",
            "plan": "professional",
        }
        self.may_keep = True
        placed = self.ask(self.operation("post", "/api/credits/holds"), {"body": {"amount": 100}})
        self.right["hold_id"] = placed.json()["id"]
        add = self.operation("post", "/api/admin/credits/add")
        large = {"amount": 500_000, "credit_type": "award"}
        waiting = self.ask(add, {"body": large}, user=self.finance)
        self.right["approval_id"] = waiting.json()["approval"]["id"]
        begun = self.ask(self.operation("post", "/api/credits/purchase"), {"body": {"amount": 100}})
        self.right["payment_id"] = begun.json()["payment"]["id"]
        self.make_disputes()
        self.make_subscription()
        self.may_keep = False

    def make_subscription(self) -> None:
        """Subscribe as a user does, and hear of it."""
        subscribe = self.operation("post", "/api/billing/subscriptions")
        begun = self.ask(subscribe, {"body": {"plan": "starter"}})
        visit(begun.json()["checkout_url"], card_number="4242424242424242")
        page = Subscription.objects.get(user=self.alice).session_id or ""
        settle_subscription(gateway.retrieve_checkout(page).subscription or "")

    def make_disputes(self) -> None:
        """Make a charge to dispute, and a dispute in each state that some operation asks for."""

        def charge() -> str:
            deduct = self.operation("post", "/api/credits/deduct")
            return self.ask(deduct, {"body": {"amount": 5}}).json()["transaction"]["id"]

        def do(method: str, path: str, dispute_id: str = "") -> str:
            self.right["dispute_id"] = dispute_id
            return self.ask(self.operation(method, f"/api/disputes/{path}"), {}).json().get("id")

        made = []
        for _ in range(3):
            self.right["transaction_id"] = charge()
            made.append(do("post", "submit"))
        pending, reviewed, decided = made
        for dispute_id in (reviewed, decided):
            do("put", "admin/{dispute_id}/review", dispute_id)
        do("post", "admin/{dispute_id}/resolve", decided)
        file = attach_file(
            dispute=Dispute.objects.get(pk=pending),
            name="a.txt",
            content=b"a",
            actor=self.alice,
            at=timezone.now(),
        )
        self.right |= {
            "transaction_id": charge(),
            "dispute_id": pending,
            "attachment_id": str(file.pk),
        }
        self.disputes = {"appeal": decided, "resolve": reviewed}

    def operation(self, method: str, path: str) -> Operation:
        return next(
            each
            for each in self.document.operations()
            if (each.method, each.path) == (method, path)
        )

    def needed(self, operation: Operation) -> dict[str, dict[str, Any]]:
        """Return what a request must have, by place; whose credits, and how many, go with it."""
        values: dict[str, dict[str, Any]] = {"path": {}, "query": {}, "header": {}, "body": {}}
        for (place, name), said in operation.parameters.items():
            if said.get("required"):
                values[place][name] = self.right[name]
        if "dispute_id" in values["path"]:
            act = operation.path.rpartition("/")[2]
            values["path"]["dispute_id"] = self.disputes.get(act, self.right["dispute_id"])
        properties = operation.body.get("properties", {})
        names = {*operation.body.get("required", []), *({"amount", "user_id"} & properties.keys())}
        values["body"] = {name: self.right[name] for name in names}
        return values

    def ask(
        self, operation: Operation, changes: dict[str, dict[str, Any]], user: User | None = None
    ) -> Any:
        """Send a right request with ``changes``, as staff where staff is asked for, and undo it."""
        values = {
            place: needed | changes.get(place, {})
            for place, needed in self.needed(operation).items()
        }
        path = re.sub(
            r"{(\w+)}",
            lambda m: quote(str(values["path"][m[1]]).encode("utf-8", "replace"), safe=""),
            operation.path,
        )
        query = "&".join(
            f"{quote(name)}={quote(str(value).encode('utf-8', 'replace'), safe='')}"
            for name, value in values["query"].items()
        )
        door = API[operation.path][operation.method.upper()]
        user = user or (self.admin if door.permission else self.alice)
        credentials = f"Bearer {self.tokens[user.pk]['access']}"
        if door.is_for_services:
            credentials = f"Api-Key {self.key}"
        headers = {"Authorization": credentials} | values["header"]
        undone = transaction.atomic()
        undone._from_testcase = True  # type: ignore[attr-defined]  # Stripe is called within it.
        with undone:
            answer = self.client.generic(
                operation.method.upper(),
                f"{path}?{query}",
                body_of(values["body"]) if operation.body else b"",
                content_type="application/json",
                headers=headers,
            )
            transaction.set_rollback(not self.may_keep)
        return answer

    def cases(self) -> list[Case]:
        """Return every hostile value in every field."""
        found = []
        for operation in self.document.operations():
            for place, name in operation.parameters:
                values = TEXTS if place != "header" else filter(HEADER_VALUE.fullmatch, TEXTS)
                found += [Case(operation, place, name, value) for value in values]
            for name in operation.body.get("properties", {}):
                found += [Case(operation, "body", name, value) for value in [*TEXTS, *JSON]]
            for name, said in operation.body.get("properties", {}).items():
                items = self.document.resolved(self.document.resolved(said).get("items", {}))
                found += [
                    Case(operation, f"body.{name}", member, value)
                    for member in items.get("properties", {})
                    for value in [*TEXTS, *JSON]
                ]
        return found

    def try_out(self, case: Case) -> str | None:
        """Send ``case``; return what is wrong with the answer."""
        place, _, inside = case.place.partition(".")
        given: dict[str, Any] = {case.name: case.value}
        if inside:
            given = {inside: [self.right[inside][0] | given]}
        answer = self.ask(case.operation, {place: given})
        if answer.status_code >= 500:
            return f"{answer.status_code}: {answer.content[:300]!r}"
        if answer.status_code >= 300 or not self.can_tell(case):
            return None
        value = value_of(case)
        schema = self.document.resolved(self.schema_of(case))
        if not self.document.fits(value, schema):
            return f"{answer.status_code}, though it is no {schema}"
        told = list(members(answer.json(), case.name)) if answer.content else []
        if schema.get("format") == "date-time":
            told = [datetime.fromisoformat(each) for each in told if each]
        if place == "body" and told and means(value, schema, case.name) not in told:
            return f"{answer.status_code}, and it is now {told!a}"
        return None

    def schema_of(self, case: Case) -> dict[str, Any]:
        if case.place in {"path", "query", "header"}:
            return case.operation.parameters[case.place, case.name].get("schema", {})
        properties = case.operation.body["properties"]
        if inside := case.place.partition(".")[2]:
            items = self.document.resolved(properties[inside])["items"]
            properties = self.document.resolved(items)["properties"]
        return properties[case.name]

    @staticmethod
    def can_tell(case: Case) -> bool:
        """An empty parameter is none; an event that is refused is so within a 200."""
        return case.value != "" and not {"events", "costs"} & {
            case.name,
            case.place.partition(".")[2],
        }


def value_of(case: Case) -> Any:
    """Return the value of ``case`` as the document sees it."""
    if isinstance(case.value, Raw):
        return json.loads(case.value)
    if case.place in {"path", "query"}:
        schema = case.operation.parameters[case.place, case.name].get("schema", {})
        if schema.get("type") in {"integer", "number"}:
            if not re.fullmatch(r"-?[0-9]{1,19}", case.value):
                return case.value
            return int(case.value)
    return case.value


def test_a_right_request_is_answered(world: World) -> None:
    """The other tests prove nothing where the rest of the request is wrong."""
    refused = {}
    for operation in world.document.operations():
        answer = world.ask(operation, {})
        if answer.status_code >= 300:
            refused[str(operation)] = f"{answer.status_code} {answer.json()['code']}"
    assert refused == {
        "POST /api/auth/token": "401 not_authenticated",  # Nobody has that password.
        "POST /api/admin/credits/resume": "409 conflict",  # Nothing is paused.
        "POST /api/billing/subscriptions": "409 already_subscribed",
        "POST /api/credits/initialize": "409 conflict",  # Alice has credits,
        "POST /api/credits/monthly-allocation": "409 not_on_tier",  # and pays for her plan.
        "POST /api/admin/approvals/{approval_id}/withdraw": "403 not_your_request",
        # Files come as forms send them; disputes/tests/test_api.py sends hostile ones.
        "POST /api/disputes/{dispute_id}/attachments": "400 invalid_request",
        "POST /api/disputes/admin/{dispute_id}/attachments": "400 invalid_request",
    }


@pytest.mark.once
def test_hostile_values(world: World) -> None:
    wrong = []
    for case in some(world.cases(), usually=250):
        try:
            if problem := world.try_out(case):
                wrong.append(f"{case}: {problem}")
        except Exception as error:
            wrong.append(f"{case}: {error!r}")
    assert not wrong, f"{len(wrong)} wrong, HOSTILE_SEED={seed()}:\n" + "\n".join(wrong[:60])


def test_unknown_fields_are_refused(world: World) -> None:
    for operation in world.document.operations():
        for place in ["query", "body"] if operation.body else ["query"]:
            if place == "query" and operation.body:
                continue
            answer = world.ask(operation, {place: {"unexpected": "5"}})
            told = answer.json()
            assert answer.status_code == 400, operation
            assert told["errors"] == {"unexpected": ["Unknown field."]}, operation
