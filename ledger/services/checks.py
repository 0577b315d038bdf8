"""Keeping what checks of the books found."""

from collections.abc import Sequence
from datetime import datetime

from ledger.invariants import Finding
from ledger.models import LedgerCheck

MOST_FINDINGS = 100


def keep_check(*, found: Sequence[Finding], at: datetime) -> LedgerCheck:
    """Keep what a check of all the books, begun ``at``, found."""
    violations = [
        f"{finding.check}: {violation}" for finding in found for violation in finding.violations
    ]
    return LedgerCheck.objects.create(
        at=at,
        seconds=sum(finding.seconds for finding in found),
        checks=len(found),
        violations=len(violations),
        findings=violations[:MOST_FINDINGS],
    )
