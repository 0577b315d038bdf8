"""Who hears by e-mail what a night's reconciliation found."""

from django.db.models import Count, QuerySet
from django.urls import reverse

from accounts.choices import StaffGroup
from accounts.models import User
from accounts.services.notices import tell
from billing.choices import BREAK_REMEDIES, BreakKind
from billing.models import Break, Reconciliation
from creditsite.links import site_link


def tell_breaks(run: Reconciliation, breaks: QuerySet[Break]) -> None:
    """Write to Finance what Stripe and the books differ in, kind by kind."""
    counts = breaks.values_list("kind").annotate(count=Count("pk")).order_by("kind")
    address = site_link(reverse("admin:billing_break_changelist"))
    where = f"They are listed at {address}" if address else "They are listed under Reconciliation"
    tell(
        finance(),
        subject=f"Stripe and the books differ in {run.breaks:,}"
        f" {'place' if run.breaks == 1 else 'places'}",
        lines=[
            f"Last night {run.payments:,} payments were compared; {run.new_breaks:,} of the"
            " differences are new.",
            f"{where}{'.' if not address else ''}",
            *(f"{BreakKind(kind).label}: {BREAK_REMEDIES[BreakKind(kind)]}" for kind, _ in counts),
        ],
        facts=[(BreakKind(kind).label, f"{count:,}") for kind, count in counts],
    )


def finance() -> list[User]:
    """Return who is an active member of the group Finance."""
    rows = User.objects.filter(is_staff=True, is_active=True, groups__name=StaffGroup.FINANCE)
    return list(rows.order_by("pk"))
