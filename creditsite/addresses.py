"""From where a request came."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str | None:
    """
    Return the IP address of the client; ``None`` if the server knows none, as on a Unix socket.

    Behind ``TRUSTED_PROXIES`` proxies it is the one that the outermost of them has appended to
    X-Forwarded-For. What else stands in that header is the client's own word, and not believed.
    """
    proxies = settings.REST_FRAMEWORK["NUM_PROXIES"]
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR")
    text = request.META.get("REMOTE_ADDR", "")
    if proxies and forwarded:
        named = forwarded.split(",")
        text = named[-min(proxies, len(named))]
    try:
        return str(ipaddress.ip_address(text.strip().partition("%")[0]))
    except ValueError:
        return None
