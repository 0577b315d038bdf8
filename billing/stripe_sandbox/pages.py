"""The pages for people: pay, authenticate, portal. One plain form each, without JavaScript."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import parse_qsl

from billing.stripe_sandbox import billing_portal, checkout, payment_intents
from billing.stripe_sandbox.errors import StripeError
from billing.stripe_sandbox.sandbox import Sandbox
from billing.stripe_sandbox.store import Object
from billing.stripe_sandbox.subscriptions import LIVE, item_of
from creditsite.money import format_money

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a2e; background: #f6f7fb; }
main { background: #fff; padding: 1.5rem; border-radius: .75rem; border: 1px solid #e2e5ee; }
h1 { font-size: 1.25rem; margin: 0 0 1rem; } h2 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
table { width: 100%; border-collapse: collapse; } td { padding: .35rem 0; vertical-align: top; }
td:last-child { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.total td { border-top: 1px solid #e2e5ee; font-weight: 600; }
label { display: block; margin: .75rem 0 .25rem; } button, input { font: inherit; }
input { width: 100%; box-sizing: border-box; padding: .55rem; border: 1px solid #9aa1b5;
        border-radius: .4rem; }
button { margin: 1rem .5rem 0 0; padding: .55rem 1.1rem; border: 0; border-radius: .4rem;
         background: #3d46c2; color: #fff; } button.plain { background: #e2e5ee; color: #1a1a2e; }
.refusal { background: #fdecec; color: #8a1020; padding: .6rem .8rem; border-radius: .4rem; }
.note { color: #5b6178; font-size: .875rem; } .note span { white-space: nowrap; }
"""


@dataclass(frozen=True)
class Shown:
    status: int
    html: str
    headers: dict[str, str] = field(default_factory=dict)


def page(title: str, *parts: str, status: int = 200) -> Shown:
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{''.join(parts)}</main>"
        '<p class="note">The local Stripe of this installation. No money moves here.</p>'
        "</body></html>"
    )
    return Shown(status, html)


def to(address: str) -> Shown:
    """Send the browser on, by GET."""
    safe = "".join(address.splitlines())
    return Shown(303, "", {"Location": safe})


def show(sandbox: Sandbox, method: str, path: str, body: str) -> Shown:
    """Answer a request of a browser."""
    form = dict(parse_qsl(body)) if method == "POST" else {}
    kind, _, id = path.strip("/").rpartition("/")
    view = VIEWS.get(kind)
    shown, refusal = sandbox.tried(lambda: view(sandbox, id, form)) if view else (None, None)
    if refusal:
        return page("This is not here", paragraph(str(refusal)), status=refusal.status)
    return shown or page("Nothing is here", index(), status=200 if path == "/" else 404)


def index() -> str:
    return paragraph(
        "This is a local Stripe for development. Its API is under /v1, its controls are under "
        "/_sandbox; docs/stripe.md explains both."
    )


# --- Checkout -------------------------------------------------------------------------------------
def pay_page(sandbox: Sandbox, id: str, form: dict[str, str]) -> Shown:
    session = sandbox.get("checkout.session", id)
    if form.get("action") == "cancel" and session["cancel_url"]:
        return to(session["cancel_url"])
    refusal = None
    if form:
        intent, refusal = sandbox.tried(
            lambda: checkout.submit(sandbox, session, form.get("card_number", ""))
        )
        session = sandbox.get("checkout.session", id)
        if intent:
            return to(f"/authenticate/{intent['id']}")
    if session["status"] == "complete":
        return to(checkout.return_address(session))
    if session["status"] == "expired":
        return page("This checkout has expired", back(session["cancel_url"]), status=410)
    title = {"payment": "Pay", "subscription": "Subscribe", "setup": "Save a card"}[session["mode"]]
    return page(
        title,
        bill(session),
        refused(refusal),
        card_form(button=title, cancel=bool(session["cancel_url"])),
        test_cards(),
        status=402 if refusal else 200,
    )


def bill(session: Object) -> str:
    lines = session["_lines"]
    if not lines:
        return paragraph("The card is kept for payments that you have agreed to.")
    currency = session["currency"]
    rows = [
        (f"{line['quantity']} × {line['description']}", line["amount_subtotal"]) for line in lines
    ]
    if tax := session["total_details"]["amount_tax"]:
        rows.append(("Tax", tax))
    shown = "".join(row(text, format_money(amount, currency)) for text, amount in rows)
    every = lines[0]["price"]["recurring"]
    total = f"Total every {every['interval']}" if every else "Total"
    last = row(total, format_money(session["amount_total"], currency), kind="total")
    return f"<table>{shown}{last}</table>"


def card_form(*, button: str, cancel: bool, hidden: str = "") -> str:
    plain = '<button class="plain" name="action" value="cancel">Cancel</button>' if cancel else ""
    return (
        f'<form method="post">{hidden}<label for="card_number">Card number</label>'
        '<input id="card_number" name="card_number" inputmode="numeric" autocomplete="cc-number" '
        'value="4242 4242 4242 4242">'
        f'<button name="action" value="pay">{escape(button)}</button>{plain}</form>'
    )


def test_cards() -> str:
    return (
        '<p class="note">Test cards: <span>4242 4242 4242 4242</span> pays, '
        "<span>4000 0000 0000 0002</span> is declined, <span>4000 0025 0000 3155</span> asks for "
        "authentication.</p>"
    )


# --- Authentication -------------------------------------------------------------------------------
def authentication_page(sandbox: Sandbox, id: str, form: dict[str, str]) -> Shown:
    intent = sandbox.get("payment_intent", id)
    refusal = None
    if form and intent["status"] == "requires_action":
        return_url = intent["next_action"]["redirect_to_url"]["return_url"]
        succeeds = form.get("action") == "pass"
        _, refusal = sandbox.tried(
            lambda: payment_intents.authenticate(sandbox, intent, succeeds=succeeds)
        )
        return after_authentication(sandbox, id, return_url, refusal)
    if intent["status"] != "requires_action":
        return after_authentication(sandbox, id, None, refusal)
    return page(
        "Is it you?",
        paragraph(f"Your bank asks about {format_money(intent['amount'], intent['currency'])}."),
        '<form method="post"><button name="action" value="pass">Yes, it is me</button>'
        '<button class="plain" name="action" value="fail">No</button></form>',
    )


def after_authentication(
    sandbox: Sandbox, id: str, return_url: str | None, refusal: StripeError | None
) -> Shown:
    intent = sandbox.get("payment_intent", id)
    session = checkout.session_of(sandbox, intent) or session_of_invoice(sandbox, intent)
    if session:
        return to(f"/c/pay/{session['id']}")
    if return_url:
        return to(return_url)
    title = "Paid" if intent["status"] == "succeeded" else "Not paid"
    return page(title, refused(refusal))


def session_of_invoice(sandbox: Sandbox, intent: Object) -> Object | None:
    if not (id := intent.get("_invoice")):
        return None
    parent = sandbox.get("invoice", id)["parent"]["subscription_details"]
    return sandbox.first("checkout.session", _subscription=parent["subscription"])


# --- Portal, receipts -----------------------------------------------------------------------------
def portal_page(sandbox: Sandbox, id: str, form: dict[str, str]) -> Shown:
    portal, refusal = sandbox.get("billing_portal.session", id), None
    if form:
        _, refusal = sandbox.tried(lambda: portal_act(sandbox, portal, form))
        if not refusal:
            return to(f"/p/session/{id}")
    customer = {"customer": portal["customer"]}
    live = sandbox.store.find("subscription", customer | {"status": LIVE})
    paid = sandbox.store.find("invoice", customer, limit=24)
    return page(
        "Your billing",
        refused(refusal),
        "<h2>Subscriptions</h2>" + ("".join(map(subscription_form, live)) or paragraph("None.")),
        "<h2>Pay by another card</h2>" + card_form(button="Use this card", cancel=False),
        "<h2>Invoices</h2><table>" + "".join(map(invoice_row, paid)) + "</table>",
        back(portal["return_url"]),
        status=402 if refusal else 200,
    )


def portal_act(sandbox: Sandbox, portal: Object, form: dict[str, str]) -> None:
    if form["action"] == "pay":
        billing_portal.set_card(sandbox, portal, form.get("card_number", ""))
        return
    subscription = form.get("subscription", "")
    billing_portal.set_end(sandbox, portal, subscription, cancelled=form["action"] == "cancel")


def subscription_form(subscription: Object) -> str:
    item = item_of(subscription)
    price = format_money(item["price"]["unit_amount"] * item["quantity"], subscription["currency"])
    ending = subscription["cancel_at_period_end"]
    action, text = ("keep", "Keep it") if ending else ("cancel", "Cancel at the end of the period")
    interval, id = item["price"]["recurring"]["interval"], subscription["id"]
    shown = row(f"Every {interval}, {subscription['status'].replace('_', ' ')}", price)
    shown += row("Ends on" if ending else "Renews on", day(item["current_period_end"]))
    return (
        f'<table>{shown}</table><form method="post">'
        f'<input type="hidden" name="subscription" value="{id}">'
        f'<button class="plain" name="action" value="{action}">{text}</button></form>'
    )


def invoice_row(invoice: Object) -> str:
    shown = format_money(invoice["total"], invoice["currency"])
    return row(
        f"{invoice['number'] or 'Draft'}, {day(invoice['created'])}, {invoice['status']}", shown
    )


def receipt_page(sandbox: Sandbox, id: str, form: dict[str, str]) -> Shown:
    charge = sandbox.get("charge", id)
    money = format_money(charge["amount"], charge["currency"])
    back_again = format_money(charge["amount_refunded"], charge["currency"])
    rows = row(f"Paid on {day(charge['created'])}", money) + row("Refunded", back_again)
    return page("Receipt", f"<table>{rows}</table>")


def invoice_page(sandbox: Sandbox, id: str, form: dict[str, str]) -> Shown:
    invoice = sandbox.get("invoice", id)
    return page(f"Invoice {invoice['number'] or ''}", f"<table>{invoice_row(invoice)}</table>")


# --- Parts ----------------------------------------------------------------------------------------
def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def row(left: str, right: str, *, kind: str = "") -> str:
    return f'<tr class="{kind}"><td>{escape(left)}</td><td>{escape(right)}</td></tr>'


def refused(refusal: StripeError | None) -> str:
    return f'<p class="refusal" role="alert">{escape(str(refusal))}</p>' if refusal else ""


def back(address: str | None) -> str:
    safe = address if address and address.startswith(("http://", "https://")) else None
    return f'<p><a href="{escape(safe)}">Back to the site</a></p>' if safe else ""


def day(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%d %B %Y").lstrip("0")


VIEWS: dict[str, Callable[[Sandbox, str, dict[str, str]], Any]] = {
    "c/pay": pay_page,
    "authenticate": authentication_page,
    "p/session": portal_page,
    "receipts": receipt_page,
    "invoices": invoice_page,
}
