"""The price list of the demo."""

from django.utils import timezone

from creditsite.site.demo.catalogue import make_catalogue


def make() -> int:
    """Make the features and their prices; return how many."""
    return make_catalogue(timezone.now())
