from ledger.models.awards import AwardRun, Referral
from ledger.models.batches import Batch, BatchException, BatchItem
from ledger.models.checks import LedgerCheck, Snapshot
from ledger.models.debts import Debt, DebtEntry
from ledger.models.features import Feature, FeaturePrice
from ledger.models.grants import Grant, MoneyReturn
from ledger.models.holds import Hold, HoldAllocation
from ledger.models.low_credit import LowCredit
from ledger.models.reports import Report
from ledger.models.rollups import (
    DailyCredits,
    DailyMoney,
    DailySpending,
    GrantDay,
    LockedMonth,
    Rollup,
)
from ledger.models.settings import CreditSettings
from ledger.models.transactions import CreditTransaction, Entry, Restoration
from ledger.models.wallets import Wallet

__all__ = [
    "AwardRun",
    "Batch",
    "BatchException",
    "BatchItem",
    "CreditSettings",
    "CreditTransaction",
    "DailyCredits",
    "DailyMoney",
    "DailySpending",
    "Debt",
    "DebtEntry",
    "Entry",
    "Feature",
    "FeaturePrice",
    "Grant",
    "GrantDay",
    "Hold",
    "HoldAllocation",
    "LedgerCheck",
    "LockedMonth",
    "LowCredit",
    "MoneyReturn",
    "Referral",
    "Report",
    "Restoration",
    "Rollup",
    "Snapshot",
    "Wallet",
]
