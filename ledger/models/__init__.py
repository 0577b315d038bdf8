from ledger.models.debts import Debt, DebtEntry
from ledger.models.features import Feature, FeaturePrice
from ledger.models.grants import Grant
from ledger.models.holds import Hold, HoldAllocation
from ledger.models.transactions import CreditTransaction, Entry, Restoration
from ledger.models.wallets import Wallet

__all__ = [
    "CreditTransaction",
    "Debt",
    "DebtEntry",
    "Entry",
    "Feature",
    "FeaturePrice",
    "Grant",
    "Hold",
    "HoldAllocation",
    "Restoration",
    "Wallet",
]
