from ledger.admin import (
    awards,
    batches,
    features,
    grants,
    holds,
    reports,
    settings,
    transactions,
    wallets,
)

__all__ = [
    "awards",
    "batches",
    "features",
    "grants",
    "holds",
    "reports",
    "settings",
    "transactions",
    "wallets",
]
