from ledger.admin import features, grants, holds, transactions, wallets

__all__ = ["features", "grants", "holds", "transactions", "wallets"]
