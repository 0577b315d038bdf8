"""Refusals in the shapes that Stripe's have."""

from typing import Any


class StripeError(Exception):
    """
    An answer of 4xx.

    ``keeps`` says that what led to it stands, as a failed charge does; else nothing has changed.
    """

    def __init__(
        self, message: str, *, status: int = 400, type: str = "invalid_request_error", **more: Any
    ) -> None:
        super().__init__(message)
        self.status = status
        self.keeps = bool(more.pop("keeps", False))
        self.error = {"type": type, "message": message, **more}


def missing_object(kind: str, id: str, *, param: str = "id") -> StripeError:
    return StripeError(f"No such {kind}: '{id}'", status=404, code="resource_missing", param=param)


def unknown_here(what: str, param: str | None = None) -> StripeError:
    """Return the answer to what Stripe can do and this one cannot."""
    more: dict[str, Any] = {"param": param} if param else {}
    return StripeError(f"The local Stripe does not know {what}.", code="not_in_sandbox", **more)


def unexpected_state(message: str, code: str, **more: Any) -> StripeError:
    return StripeError(message, code=code, **more)
