"""Links into this site, for e-mails and for Stripe, where no request says what our address is."""

from django.conf import settings


def site_link(path: str) -> str:
    """Return the whole address of a ``path`` of ours, as `reverse` gives it; "" without one."""
    return f"{settings.SITE_URL}{path}" if settings.SITE_URL else ""
