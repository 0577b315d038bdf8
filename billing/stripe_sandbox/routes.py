"""Which function answers which call, and by which of the SDK's types its parameters are read."""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from billing.stripe_sandbox.errors import StripeError
from billing.stripe_sandbox.sandbox import Sandbox
from billing.stripe_sandbox.store import Object

Params = dict[str, Any]
Operation = Callable[..., Object]


@dataclass(frozen=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    params: str
    knows: frozenset[str]
    operation: Operation

    def params_type(self) -> type:
        """Return the ``TypedDict`` of the operation, such as ``checkout.SessionCreateParams``."""
        package, _, name = self.params.rpartition(".")
        return getattr(
            importlib.import_module(".".join(filter(None, ["stripe.params", package]))), name
        )


ROUTES: list[Route] = []


def route(method: str, path: str, params: str, knows: str = "") -> Callable[[Operation], Operation]:
    """
    Register an operation: ``operation(sandbox, params, *ids in the path)``.

    ``params`` names a type of ``stripe.params``; of those, the operation ``knows`` some.
    """

    def register(operation: Operation) -> Operation:
        pattern = re.compile(re.sub(r"\{[^}]*\}", r"([^/]+)", path))
        known = frozenset([*knows.split(), "expand"])
        ROUTES.append(Route(method, pattern, params, known, operation))
        return operation

    return register


def find(method: str, path: str) -> tuple[Route, tuple[str, ...]]:
    """:raises StripeError: nothing answers this."""
    for candidate in ROUTES:
        if candidate.method == method and (match := candidate.pattern.fullmatch(path)):
            return candidate, match.groups()
    raise StripeError(
        f"Unrecognized request URL ({method}: {path}). The local Stripe does not know it; "
        "docs/stripe.md lists what it knows.",
        status=404,
    )


def retrieve(kind: str, path: str, params: str) -> None:
    """Register how one object of a kind is retrieved."""

    def operation(sandbox: Sandbox, params: Params, id: str) -> Object:
        return sandbox.get(kind, id)

    route("GET", f"{path}/{{id}}", params)(operation)


def listing(kind: str, path: str, params: str, filters: str = "") -> None:
    """Register how objects of a kind are listed, by these fields of theirs among others."""
    names = filters.split()

    def operation(sandbox: Sandbox, params: Params) -> Object:
        fields = {name: params[name] for name in names if name in params}
        return page(sandbox, kind, path, params, fields)

    route("GET", path, params, f"created limit starting_after ending_before {filters}")(operation)


def page(sandbox: Sandbox, kind: str, path: str, params: Params, fields: dict[str, Any]) -> Object:
    """Return a page of a list as Stripe pages it, newest first."""
    limit = params.get("limit", 10)
    if not 1 <= limit <= 100:
        raise StripeError("Invalid limit: it is between 1 and 100.", param="limit")
    for side in ["starting_after", "ending_before"]:
        if side in params:
            sandbox.get(kind, params[side], param=side)
    created = params.get("created")
    found = sandbox.store.find(
        kind,
        fields,
        created={"gte": created, "lte": created} if isinstance(created, int) else created,
        after=params.get("starting_after"),
        before=params.get("ending_before"),
        limit=limit + 1,
    )
    has_more = len(found) > limit
    shown = found[-limit:] if "ending_before" in params else found[:limit]
    return {"object": "list", "url": path, "has_more": has_more, "data": shown}


def whole_list(path: str, items: list[Object]) -> Object:
    """Return a list inside an object, whole."""
    return {"object": "list", "url": path, "has_more": False, "data": items}
