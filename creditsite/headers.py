"""What each answer tells the browser that it may do, and may keep."""

from typing import Any

from csp.constants import NONCE, NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

# Problem documents and other JSON load nothing, wherever they are shown.
DATA: dict[str, Any] = {
    name: [NONE] for name in ["default-src", "base-uri", "form-action", "frame-ancestors"]
}
# What pages below a path need beyond CONTENT_SECURITY_POLICY.
EXCEPTIONS: dict[str, dict[str, Any]] = {
    # Unfold's Alpine evaluates its attributes, and hides by style attributes what is closed.
    "/admin/": {"script-src": [SELF, NONCE, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]},
    # Swagger UI writes style attributes.
    "/api/docs": {"style-src": [SELF, UNSAFE_INLINE]},
}

# Its forms lead to Stripe's pages.
PORTAL = "/billing/"

# Whatever a page does not use, a script that got into it cannot ask for either.
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in ["camera", "display-capture", "geolocation", "microphone", "payment", "usb"]
)


def payment_pages() -> list[str]:
    """Return where Stripe's pages are; those of a local Stripe are where its API is."""
    if settings.STRIPE_API_BASE == "https://api.stripe.com":
        return settings.STRIPE_PAGES
    return [settings.STRIPE_API_BASE]


class HeadersMiddleware(CSPMiddleware):
    """
    Sets the Content Security Policy, and what Django's own middleware leaves out.

    No answer is kept by a browser or a proxy unless its view says otherwise: nearly all are about
    somebody. Static files are answered before and do not come by here.
    """

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if report_only:
            return parts
        if "json" in response.headers.get("Content-Type", ""):
            parts.config = DATA
            return parts
        for beginning, exception in EXCEPTIONS.items():
            if request.path_info.startswith(beginning):
                parts.replace = exception
        if request.path_info.startswith(PORTAL):
            parts.replace = {"form-action": [SELF, *payment_pages()]}
        return parts

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        return super().process_response(request, response)
