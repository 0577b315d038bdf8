"""Pages of the portal about credits and money, under /billing/."""

from django.urls import path

from billing.web import auto_top_up, buy, credits, earnings, payments, plans, projects, receipts

urlpatterns = [
    path("", credits.credits, name="billing_credits"),
    path("buy/", buy.buy, name="billing_buy"),
    path("buy/quote/", buy.quote, name="billing_quote"),
    path("auto-top-up/", auto_top_up.auto_top_up, name="billing_auto_top_up"),
    path("payments/", payments.payments, name="billing_payments"),
    path("payments/<uuid:public_id>/", payments.payment, name="billing_payment"),
    path("payments/<uuid:public_id>/receipt/", receipts.receipt, name="billing_receipt"),
    path("payments/<uuid:public_id>/receipt.pdf", receipts.pdf, name="billing_receipt_pdf"),
    path("projects/", projects.projects, name="billing_projects"),
    path("projects/invoice/", projects.invoice, name="billing_project_invoice"),
    path("projects/invoice.csv", projects.invoice_file, name="billing_project_invoice_file"),
    path("plans/", plans.plans, name="billing_plans"),
    path("plans/subscribe/", plans.begin, name="billing_subscribe"),
    path("plans/change/", plans.change, name="billing_change"),
    path("plans/cancel/", plans.cancel, name="billing_cancel"),
    path("plans/keep/", plans.keep, name="billing_keep"),
    path("plans/portal/", plans.portal, name="billing_portal"),
    path("earnings/", earnings.earnings, name="billing_earnings"),
    path("earnings/<uuid:public_id>/", earnings.statement, name="billing_earnings_statement"),
]
