"""Fields of documents about what is sold."""

from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest
from rest_framework import serializers

from creditsite.apikit.fields import StrictChar


class CurrencyField(StrictChar):
    def __init__(self, left_out: str = "that of the settings") -> None:
        help_text = f"By ISO 4217, in lower case; {left_out} if left out."
        super().__init__(max_length=3, required=False, help_text=help_text)


class AddressField(StrictChar):
    """
    Where Stripe's page leads back to: over https, or to this site in whatever way it is called.

    The field sees to the form alone; ``refuse_others_in_the_clear`` to the rest.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=2_000, required=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        address = super().to_internal_value(data)
        if not is_address(address):
            raise serializers.ValidationError("Send an address that begins with https://.")
        return address


def is_address(text: str) -> bool:
    """Return whether ``text`` is a whole address of the web, without a name or password in it."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    is_plain = text.isascii() and not any(character in text for character in ' \\"<>^`')
    is_whole = parts.scheme in {"https", "http"} and bool(host) and "@" not in parts.netloc
    return is_plain and is_whole


def refuse_others_in_the_clear(request: HttpRequest, *addresses: str) -> None:
    """
    Refuse addresses over http that are not this site's own.

    :raises ValidationError: one is.
    """
    ours = f"{request.scheme}://{request.get_host()}/"
    if any(not address.startswith(("https://", ours)) for address in addresses if address):
        raise serializers.ValidationError("Addresses begin with https://, or are of this site.")


def money(amount_minor: int, currency: str) -> dict[str, object]:
    return {"amount_minor": amount_minor, "currency": currency}
