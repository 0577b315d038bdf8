"""
Marking statements as paid out. The money goes by the bank; here it is written down once, for ever.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from django.db import transaction

from accounts.models import Approval, User
from accounts.permissions import require
from accounts.services.approvals import approval_kind, request_approval
from audit import services as audit
from billing.errors import NotPayable, OwnShare
from billing.models import SharePayout, ShareStatement
from billing.queries.rates import prices_at
from billing.services.share_mail import tell_paid
from billing.services.share_statements import alone
from creditsite.errors import InvalidRequest
from creditsite.money import format_money, in_units
from ledger import errors, keys
from ledger.queries.figures import business_day
from ledger.queries.settings import settings_at
from ledger.services.bookings import Asked
from ledger.services.second_person import approval_waiting

PAY = "billing.pay_share"
REFERENCE = r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,39}"
Payload = Mapping[str, Any]


def register() -> None:
    """Let :mod:`accounts.services.approvals` know large payouts."""
    approval_kind(
        PAY,
        permission=PAY,
        execute=execute,
        describe=describe,
        concerns=lambda payload, user: _statement(payload).payee_id == user.pk,
        state=lambda payload, at: [f"It says {_statement(payload)}."],
    )


@transaction.atomic
def pay_share(
    *,
    statement: ShareStatement,
    reference: str,
    paid_on: date,
    reason: str,
    actor: User | None,
    caller: str,
    at: datetime,
    idempotency_key: str,
) -> SharePayout | Approval:
    """
    Write down that all of a statement was paid out; of much, return the approval it waits for.

    :param reference: of the transfer: a code, and no words about anybody.
    :raises NotPermitted: ``actor`` may not.
    :raises OwnShare: they earned it.
    :raises InvalidRequest: the reference is no code, or the day is still to come.
    :raises NotPayable: it was paid out or carried forward, or nothing is to be paid.
    :raises IdempotencyKeyReused: the key was used for another request.
    :raises ApprovalEnded: nobody approved this same request.
    """
    require(actor, PAY)
    if not re.fullmatch(REFERENCE, reference, re.ASCII):
        raise InvalidRequest("A reference is a code of up to 40 letters, digits and . _ : / + -.")
    if paid_on > business_day(at):
        raise InvalidRequest("That day is still to come.")
    _refuse_own(actor, statement)
    fingerprint = keys.fingerprint("pay_share", reason, statement.pk, reference, str(paid_on))
    asked = Asked(actor, reason, caller, idempotency_key, fingerprint, at)
    if waiting := approval_waiting(asked):
        return waiting
    if known := _known(asked):
        return known
    payable = _payable(statement)
    if actor is None or not takes_two(payable, at):
        return _keep(payable, reference, paid_on, asked)
    return request_approval(
        kind=PAY,
        payload={"statement": payable.pk, "reference": reference, "paid_on": str(paid_on)},
        maker=actor,
        reason=reason,
        at=at,
        about=payable.payee,
        caller=caller,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
    )


def credits_worth(statement: ShareStatement, at: datetime) -> int | None:
    """Return the credits that its sum buys by number; ``None`` in a currency without a rate."""
    price = prices_at(at).get(statement.currency)
    if price is None:
        return None
    return int(in_units(statement.total_minor, statement.currency) / price)


def takes_two(statement: ShareStatement, at: datetime) -> bool:
    """Return whether its payout waits for a second person, as an adjustment of its worth would."""
    worth = credits_worth(statement, at)
    return worth is None or worth > settings_at(at).approval_adjustment_above


def why_not(statement: ShareStatement) -> str:
    """Return why a statement cannot be paid out; empty if it can."""
    if SharePayout.objects.filter(statement=statement).exists():
        return "It was paid out already."
    if later := ShareStatement.objects.filter(previous=statement).first():
        return f"It was carried forward to {later.month:%Y-%m}: pay that one."
    return "" if statement.total_minor > 0 else "There is nothing to pay out."


def execute(*, payload: Payload, approval: Approval, at: datetime) -> dict[str, Any]:
    statement = _statement(payload)
    _refuse_own(approval.maker, statement)
    asked = Asked(
        approval.maker,
        approval.reason,
        approval.caller,
        approval.key,
        approval.fingerprint,
        at,
        approval.pk,
    )
    paid_on = date.fromisoformat(payload["paid_on"])
    return {"payout": _keep(_payable(statement), payload["reference"], paid_on, asked).pk}


def describe(payload: Payload) -> str:
    statement = _statement(payload)
    money = format_money(statement.total_minor, statement.currency)
    return (
        f"Mark {money} that user {statement.payee_id} earned as {statement.kind} until"
        f" {statement.month:%Y-%m} as paid out under {payload['reference']}"
    )


def _statement(payload: Payload) -> ShareStatement:
    return ShareStatement.objects.select_related("payee").get(pk=payload["statement"])


def _refuse_own(actor: User | None, statement: ShareStatement) -> None:
    if actor and actor.pk == statement.payee_id:
        raise OwnShare


def _known(asked: Asked) -> SharePayout | None:
    """:raises IdempotencyKeyReused: the key asked for another payout."""
    key = keys.digest(asked.caller, asked.idempotency_key or "")
    known = SharePayout.objects.filter(request_key=key).first()
    if known and known.fingerprint != asked.fingerprint:
        raise errors.IdempotencyKeyReused
    return known


def _payable(statement: ShareStatement) -> ShareStatement:
    """
    Return it, while nobody else pays or makes statements.

    :raises NotPayable: it was paid out or carried forward, or nothing is to be paid.
    """
    alone()
    if why := why_not(statement):
        raise NotPayable(why)
    return ShareStatement.objects.select_related("payee").get(pk=statement.pk)


def _keep(statement: ShareStatement, reference: str, paid_on: date, asked: Asked) -> SharePayout:
    payout = SharePayout.objects.create(
        statement=statement,
        amount_minor=statement.total_minor,
        reference=reference,
        paid_on=paid_on,
        paid_by=asked.actor,
        recorded_at=asked.at,
        request_key=keys.digest(asked.caller, asked.idempotency_key or ""),
        fingerprint=asked.fingerprint,
    )
    audit.record(
        "billing.share.paid",
        actor=asked.actor,
        target=statement,
        at=asked.at,
        reason=asked.reason,
        before={"paid_minor": 0},
        after={
            "paid_minor": payout.amount_minor,
            "currency": statement.currency,
            "paid_on": str(paid_on),
            "payout": payout.pk,
        },
        approval_id=asked.approval_id,
    )
    tell_paid(payout)
    return payout
