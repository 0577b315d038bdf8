"""Usage told in batches: each event is a spend of its own, and one bad event harms no other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from creditsite.errors import CreditsiteError
from ledger import errors, keys
from ledger.choices import CreditType, TransactionKind
from ledger.queries.wallets import Payers, payers_of_many
from ledger.services import posting
from ledger.services.charges import Charge, charge_for, refuse_withdrawn
from ledger.services.daily_caps import refuse_over_cap
from ledger.services.posting import DrawRequest, Header
from ledger.services.spending import spend_credits

# The refusals of the engine that a batch can meet, by the code an API client knows.
CODES = {
    "insufficient": errors.InsufficientCredits.code,
    "paused": errors.WalletPaused.code,
    "switched_off": errors.CreditsDisabled.code,
    "closed": errors.WalletClosed.code,
    "conflict": errors.IdempotencyKeyReused.code,
    "unknown": errors.WalletNotFound.code,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvent:
    """So much of so many features used by a user, at the world's time ``occurred_at``."""

    idempotency_key: str
    user_id: int
    quantities: Mapping[str, Decimal]
    reference_id: str = ""
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class UsageResult:
    """``status`` is charged, replayed or refused; ``code`` says why it was refused."""

    idempotency_key: str
    status: str
    transaction_id: UUID | None = None
    code: str | None = None


def record_usage(
    *, events: Sequence[UsageEvent], caller: str, at: datetime, daily_cap: int | None = None
) -> list[UsageResult]:
    """
    Charge each event to whoever pays for its user, priced at its ``occurred_at``, booked at ``at``.

    Users with one wallet to pay from are charged in one database call, the others one by one.
    Results are in the order of ``events``; nothing is raised for an event that is refused.
    """
    payers = payers_of_many(event.user_id for event in events)
    results: dict[int, UsageResult] = {}
    together: dict[int, tuple[Charge, Payers]] = {}
    for index, event in enumerate(events):
        try:
            payer = payers.get(event.user_id)
            if payer is None:
                raise errors.WalletNotFound
            charge = charge_for(event.quantities, at=event.occurred_at or at)
            key = keys.digest(caller, event.idempotency_key)
            refuse_withdrawn(charge, key)
            refuse_over_cap(caller=caller, cap=daily_cap, amount=charge.amount, key=key, at=at)
            if len(payer.wallet_ids) == 1:
                together[index] = (charge, payer)
            else:
                results[index] = _spend(event, charge, payer, caller, at)
        except CreditsiteError as refusal:
            results[index] = UsageResult(event.idempotency_key, "refused", code=refusal.code)
    return [result for _, result in sorted((results | _draw(events, together, caller, at)).items())]


def _spend(
    event: UsageEvent, charge: Charge, payers: Payers, caller: str, at: datetime
) -> UsageResult:
    posted = spend_credits(
        payers=payers,
        charge=charge,
        caller=caller,
        at=at,
        actor_id=event.user_id,
        idempotency_key=event.idempotency_key,
        occurred_at=event.occurred_at,
        reference_id=event.reference_id,
    )
    return UsageResult(
        event.idempotency_key, "charged" if posted.is_new else "replayed", posted.transaction_id
    )


def _draw(
    events: Sequence[UsageEvent],
    charges: Mapping[int, tuple[Charge, Payers]],
    caller: str,
    at: datetime,
) -> dict[int, UsageResult]:
    if not charges:
        return {}
    postings = posting.draw_many(
        requests=[
            DrawRequest(
                wallet_id=payers.wallet_ids[0],
                amount=charge.amount,
                key=keys.digest(caller, events[index].idempotency_key),
                # As spend_credits makes it: an event sent alone and in a batch is one request.
                fingerprint=charge.fingerprint(
                    "spend",
                    payers.subject,
                    "",
                    events[index].reference_id,
                    "",
                    None,
                    events[index].occurred_at,
                ),
                purchased_only=charge.types == [CreditType.PURCHASE],
                actor_id=events[index].user_id,
                feature=charge.feature,
                price_ids=charge.price_ids,
                quantities=charge.quantities,
                reference_id=events[index].reference_id,
                occurred_at=events[index].occurred_at,
            )
            for index, (charge, payers) in charges.items()
        ],
        header=Header(
            kind=TransactionKind.USAGE,
            at=at,
            caller=caller,
            key=keys.fresh(caller),
            fingerprint=keys.fresh(caller),
        ),
    )
    results = {}
    for index, posted in zip(charges, postings, strict=True):
        key = events[index].idempotency_key
        match posted.outcome:
            case "done":
                results[index] = UsageResult(key, "charged", posted.transaction_id)
            case "replayed":
                results[index] = UsageResult(key, "replayed", posted.transaction_id)
            case outcome:
                results[index] = UsageResult(key, "refused", code=CODES[outcome])
    return results
