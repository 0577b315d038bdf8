"""``Idempotency-Key``: a call with a key that was answered before is answered the same again."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from billing.stripe_sandbox.clock import DAY
from billing.stripe_sandbox.errors import StripeError
from billing.stripe_sandbox.sandbox import Sandbox


class Keys:
    """Which keys are being worked on, and what those of the last day were answered."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.in_use: set[str] = set()
        self.lock = Lock()

    @contextmanager
    def using(self, key: str | None) -> Iterator[None]:
        """:raises StripeError: another request with this key has not been answered yet."""
        if key is None:
            yield
            return
        with self.lock:
            if key in self.in_use:
                raise StripeError(
                    "There is currently another in-progress request using this Idempotency Key.",
                    status=409,
                    code="idempotency_key_in_use",
                )
            self.in_use.add(key)
        try:
            yield
        finally:
            with self.lock:
                self.in_use.discard(key)

    def answered(self, key: str | None, request: str) -> tuple[int, dict[str, Any]] | None:
        """
        Return what the key was answered before.

        :raises StripeError: it was used for another request.
        """
        row = self.sandbox.store.one(
            "SELECT request, status, body FROM answers WHERE key = ? AND kept_at > ?",
            key,
            self.sandbox.clock.real() - DAY,
        )
        if row is None:
            return None
        if row[0] != request:
            raise StripeError(
                "Keys for idempotent requests can only be used with the same parameters they were "
                f"first used with. Try using a key other than '{key}' if you meant to execute a "
                "different request.",
                type="idempotency_error",
            )
        return row[1], json.loads(row[2])

    def keep(self, key: str | None, request: str, status: int, body: Any) -> None:
        """Keep an answer, in the change that it tells of."""
        if key is not None:
            self.sandbox.store.db.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
                [key, request, status, json.dumps(body), self.sandbox.clock.real()],
            )


def digest(method: str, path: str, body: str) -> str:
    return hashlib.sha256(f"{method} {path}\n{body}".encode()).hexdigest()
