"""The calls about invoices."""

from billing.stripe_sandbox import invoices
from billing.stripe_sandbox.errors import StripeError, unexpected_state
from billing.stripe_sandbox.payment_methods import attach, usable
from billing.stripe_sandbox.routes import Params, page, retrieve, route, whole_list
from billing.stripe_sandbox.sandbox import Sandbox
from billing.stripe_sandbox.store import Object
from billing.stripe_sandbox.subscription_routes import living, reprice
from billing.stripe_sandbox.subscriptions import bill, settle_or_fail, void_invoice

PAGING = "created limit starting_after ending_before"


@route(
    "POST",
    "/v1/invoices/{id}/pay",
    "InvoicePayParams",
    "payment_method off_session paid_out_of_band",
)
def pay_invoice(sandbox: Sandbox, params: Params, id: str) -> Object:
    """Try to have an invoice paid now; a draft is finalised first."""
    invoice = sandbox.get("invoice", id)
    if invoice["status"] not in {"draft", "open"}:
        raise unexpected_state(f"Invoice is already {invoice['status']}", "invoice_already_paid")
    if params.get("paid_out_of_band"):
        if invoice["status"] == "draft":
            invoices.finalize(sandbox, invoice)
        invoices.settle(sandbox, invoice)
        return sandbox.get("invoice", id)
    method = params.get("payment_method")
    if method:
        method = attach(sandbox, usable(sandbox, method), invoice["customer"])["id"]
    subscription = invoices.subscription_of(invoice)
    refusal = settle_or_fail(
        sandbox, subscription, invoice, off_session=params.get("off_session", True), method=method
    )
    if refusal:
        refusal.keeps = True
        raise refusal
    return sandbox.get("invoice", id)


@route("POST", "/v1/invoices/{id}/finalize", "InvoiceFinalizeInvoiceParams", "auto_advance")
def finalize_invoice(sandbox: Sandbox, params: Params, id: str) -> Object:
    return invoices.finalize(sandbox, sandbox.get("invoice", id))


@route("POST", "/v1/invoices/{id}/void", "InvoiceVoidInvoiceParams")
def void(sandbox: Sandbox, params: Params, id: str) -> Object:
    invoice = sandbox.get("invoice", id)
    if invoice["status"] != "open":
        raise unexpected_state(
            f"You can only void an open invoice; it is {invoice['status']}.", "invoice_not_editable"
        )
    return void_invoice(sandbox, invoice)


@route(
    "POST",
    "/v1/invoices/create_preview",
    "InvoiceCreatePreviewParams",
    "customer subscription subscription_details.items subscription_details.proration_behavior "
    "subscription_details.proration_date",
)
def preview_invoice(sandbox: Sandbox, params: Params) -> Object:
    """Return the invoice that a change of price would make at once; nothing is kept of it."""
    if not params.get("subscription") or "items" not in params.get("subscription_details", {}):
        raise StripeError("The local Stripe previews changes of a subscription's items only.")
    try:
        with sandbox.store.attempt():
            subscription = living(sandbox, params["subscription"])
            lines, _ = reprice(sandbox, subscription, params["subscription_details"])
            raise Previewed(bill(sandbox, subscription, reason="upcoming", lines=lines))
    except Previewed as previewed:
        return previewed.invoice | {"id": f"upcoming_{previewed.invoice['id']}"}


class Previewed(Exception):
    def __init__(self, invoice: Object) -> None:
        super().__init__()
        self.invoice = invoice


@route("GET", "/v1/invoices", "InvoiceListParams", f"{PAGING} customer status subscription")
def list_invoices(sandbox: Sandbox, params: Params) -> Object:
    fields = {name: params[name] for name in ["customer", "status"] if name in params}
    if "subscription" in params:
        fields["parent.subscription_details.subscription"] = params["subscription"]
    return page(sandbox, "invoice", "/v1/invoices", params, fields)


@route("GET", "/v1/invoices/{id}/lines", "InvoiceListLinesParams", "limit")
def list_lines(sandbox: Sandbox, params: Params, id: str) -> Object:
    return whole_list(f"/v1/invoices/{id}/lines", sandbox.get("invoice", id)["lines"]["data"])


@route(
    "GET",
    "/v1/invoice_payments",
    "InvoicePaymentListParams",
    f"{PAGING} invoice status payment.type payment.payment_intent",
)
def list_invoice_payments(sandbox: Sandbox, params: Params) -> Object:
    fields = {name: params[name] for name in ["invoice", "status"] if name in params}
    if "payment" in params:
        fields["payment.payment_intent"] = params["payment"].get("payment_intent", "")
    return page(sandbox, "invoice_payment", "/v1/invoice_payments", params, fields)


retrieve("invoice", "/v1/invoices", "InvoiceRetrieveParams")
retrieve("invoice_payment", "/v1/invoice_payments", "InvoicePaymentRetrieveParams")
