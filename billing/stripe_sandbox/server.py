"""The HTTP server: `/v1` as Stripe's, pages for people, `/_sandbox` for who tests."""

import json
import secrets
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import stripe

from billing.stripe_sandbox import control, faults, forms, idempotency, operations, pages
from billing.stripe_sandbox.contract import read_params
from billing.stripe_sandbox.errors import StripeError
from billing.stripe_sandbox.expansion import expand
from billing.stripe_sandbox.routes import find
from billing.stripe_sandbox.sandbox import Sandbox, public
from billing.stripe_sandbox.store import Store
from billing.stripe_sandbox.webhooks import Courier, listen

LARGEST_BODY = 1_048_576
Answer = tuple[int, dict[str, Any]]


class Server(ThreadingHTTPServer):
    """A local Stripe on loopback, with its state in the file ``state``."""

    daemon_threads = True
    disable_nagle_algorithm = True
    request_queue_size = 128

    def __init__(self, *, port: int, state: str, retry_seconds: float = 1.0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.store = Store(state)
        self.sandbox = Sandbox(self.store, base=self.url)
        self.keys = idempotency.Keys(self.sandbox)
        self.courier = Courier(self.sandbox, retry_seconds=retry_seconds)

    def listen(self, url: str, *secrets: str) -> None:
        """Send events to ``url``, signed with each of the ``secrets``."""
        with self.store.change():
            listen(self.sandbox, url, list(secrets))

    def serve_until_closed(self) -> None:
        self.courier.start()
        try:
            self.serve_forever(poll_interval=0.02)
        finally:
            self.courier.end()
            self.server_close()
            self.store.close()


@contextmanager
def serving(*, state: str, port: int = 0, retry_seconds: float = 0.05) -> Iterator[Server]:
    """Run a local Stripe in threads of this process, for the time of a block."""
    server = Server(port=port, state=state, retry_seconds=retry_seconds)
    thread = Thread(target=server.serve_until_closed, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    wbufsize = 65_536

    def do_GET(self) -> None:
        self.handle_request()

    do_POST = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: `/_sandbox/state` shows what happened."""

    def handle_request(self) -> None:
        body = self.read_body()
        if body is None:
            return
        url = urlsplit(self.path)
        if url.path.startswith("/v1/"):
            self.call(url.path, url.query if self.command != "POST" else body)
        elif url.path.startswith("/_sandbox/"):
            self.control(url.path, body)
        else:
            self.page(url.path, body)

    def read_body(self) -> str | None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > LARGEST_BODY:
            self.close_connection = True
            self.answer(413, {"error": StripeError("The body is too large.").error})
            return None
        return self.rfile.read(length).decode(errors="replace")

    # --- The API ----------------------------------------------------------------------------------
    def call(self, path: str, form: str) -> None:
        """Answer a call of the API, or meet it with the fault that was ordered."""
        with self.server.store.change():
            fault = faults.fault_of(self.server.sandbox, self.command, path)
        if fault and fault["when"] == "before" and not self.meet(fault):
            return
        delayed = fault["seconds"] if fault and fault["effect"] == "delay" else 0
        kept = faults.answer_of(fault) if fault and fault["kept"] else None
        status, body, replayed = self.guarded(lambda: self.once(path, form, delayed, kept))
        if fault and fault["when"] == "after" and not self.meet(fault):
            return
        headers = {"Idempotent-Replayed": "true"} if replayed else {}
        self.answer(status, body, **headers)

    def meet(self, fault: dict[str, Any]) -> bool:
        """Answer as the fault says; say whether the call is to go on."""
        if fault["effect"] == "delay":
            return True
        if fault["effect"] == "error":
            self.answer(*faults.answer_of(fault))
            return False
        if fault["effect"] == "timeout":
            time.sleep(fault["seconds"])
        self.close_connection = True
        return False

    def guarded(self, work: Callable[[], tuple[int, Any, bool]]) -> tuple[int, Any, bool]:
        try:
            return work()
        except StripeError as refusal:
            return refusal.status, {"error": refusal.error}, False
        except Exception:  # A mistake of ours: the caller is answered, and whoever looks sees it.
            traceback.print_exc()
            return (
                500,
                {"error": {"type": "api_error", "message": "The local Stripe broke."}},
                False,
            )

    def once(
        self, path: str, form: str, delayed: float, kept: Answer | None
    ) -> tuple[int, Any, bool]:
        """Do what is asked unless its key says that it was done; return what to answer."""
        self.check_headers()
        key = self.headers.get("Idempotency-Key") if self.command == "POST" else None
        if key is not None and not 1 <= len(key) <= 255:
            raise StripeError("An Idempotency-Key has 1 to 255 characters.")
        found, ids = find(self.command, path)
        request = idempotency.digest(self.command, path, form)
        with self.server.keys.using(key):
            if (before := self.server.keys.answered(key, request)) is not None:
                return *before, True
            params = read_params(found.params_type(), forms.decode(form), found.knows)
            time.sleep(delayed)
            with self.server.store.change():
                status, body = self.perform(found.operation, params, ids)
                self.server.keys.keep(key, request, *(kept or (status, body)))
        return status, body, False

    def check_headers(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token.startswith("sk_test_"):
            raise StripeError(
                "Invalid API Key provided: the local Stripe takes any that begins with sk_test_.",
                status=401,
            )
        if self.headers.get("Stripe-Version", stripe.api_version) != stripe.api_version:
            raise StripeError(f"The local Stripe speaks {stripe.api_version} only.")
        if self.headers.get("Stripe-Account"):
            raise StripeError("The local Stripe has one account and no others.", status=403)

    def perform(
        self, operation: operations.Operation, params: dict[str, Any], ids: tuple[str, ...]
    ) -> Answer:
        """Run an operation, so that a refusal leaves nothing behind but what it says stands."""
        sandbox = self.server.sandbox
        paths = params.pop("expand", [])
        result, refusal = sandbox.tried(
            lambda: public(expand(sandbox, operation(sandbox, params, *ids), paths))
        )
        if refusal:
            return refusal.status, {"error": public(refusal.error)}
        return 200, result

    # --- Control and pages ------------------------------------------------------------------------
    def control(self, path: str, body: str) -> None:
        def work() -> tuple[int, Any, bool]:
            given = self.read_json(body)
            with self.server.store.change():
                return 200, public(control.perform(self.server, self.command, path, given)), False

        status, answer, _ = self.guarded(work)
        self.server.courier.wake.set()
        self.answer(status, answer)

    def read_json(self, body: str) -> dict[str, Any]:
        # Not by a form of some web site's: those cannot send this type without asking first.
        if self.command == "POST" and self.headers.get_content_type() != "application/json":
            raise StripeError("Control calls are JSON.", status=415)
        try:
            given = json.loads(body or "{}")
        except (ValueError, RecursionError):
            raise StripeError("This is no JSON.") from None
        if not isinstance(given, dict):
            raise StripeError("This is no JSON object.")
        return given

    def page(self, path: str, body: str) -> None:
        with self.server.store.change():
            shown = pages.show(self.server.sandbox, self.command, path, body)
        self.server.courier.wake.set()
        self.send_answer(
            shown.status, shown.html.encode(), "text/html; charset=utf-8", **shown.headers
        )

    # --- Answers ----------------------------------------------------------------------------------
    def answer(self, status: int, body: dict[str, Any], **headers: str) -> None:
        text = json.dumps(body, indent=2).encode()
        self.send_answer(status, text, "application/json", **headers)
        self.server.courier.wake.set()

    def send_answer(self, status: int, content: bytes, type: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Request-Id", f"req_{secrets.token_hex(7)}")
        self.send_header("Stripe-Version", stripe.api_version)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()
