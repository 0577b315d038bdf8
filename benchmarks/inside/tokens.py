"""Tokens of users, to call the API with."""

from accounts.api.tokens import refresh_token_for
from accounts.models import User

CALLERS = 1_000


def make(*, first: int, last: int) -> list[str]:
    """Return an access token for each of up to 1,000 users, evenly between two ids."""
    ids = range(first, last + 1, max(1, (last + 1 - first) // CALLERS))
    return [str(refresh_token_for(user).access_token) for user in User.objects.filter(pk__in=ids)]
