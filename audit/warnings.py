"""What staff are warned of, on their start page and beside the seals."""

from datetime import datetime, timedelta

from audit.models import UnsealedEvent, Verification

# The worker seals every few seconds and verifies every hour.
LATE_SEAL = timedelta(minutes=10)
LATE_VERIFICATION = timedelta(hours=3)


def warnings(at: datetime) -> list[str]:
    """Return a sentence for each thing that is wrong with the record, or with who watches it."""
    said = []
    last = Verification.objects.order_by("-pk").first()
    if last and not last.is_sound:
        said.append(
            f"The audit record is not as it was sealed: {last.findings[0]}."
            f" Found on {last.at:%Y-%m-%d at %H:%M} UTC, {len(last.findings):,} findings in all."
        )
    if last and last.at < at - LATE_VERIFICATION:
        said.append(f"Nobody has verified the audit record since {last.at:%Y-%m-%d %H:%M} UTC.")
    if UnsealedEvent.objects.filter(event__at__lt=at - LATE_SEAL).exists():
        said.append("Audit events have waited for their seal for more than ten minutes.")
    return said
