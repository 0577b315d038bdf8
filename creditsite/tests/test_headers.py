import pytest
from django.http import HttpResponse, JsonResponse

from creditsite.headers import HeadersMiddleware
from creditsite.testing.people import as_role


def policy(response):
    parts = (part.split() for part in response["Content-Security-Policy"].split(";"))
    return {name: values for name, *values in parts}


class TestHeadersMiddleware:
    def answer(self, rf, path, response=None):
        return HeadersMiddleware(lambda request: response or HttpResponse("page"))(rf.get(path))

    def test_lets_a_page_load_what_is_ours_and_nothing_else(self, rf):
        assert policy(self.answer(rf, "/accounts/")) == {
            "default-src": ["'none'"],
            "script-src": ["'self'"],
            "style-src": ["'self'"],
            "img-src": ["'self'", "data:"],
            "font-src": ["'self'"],
            "connect-src": ["'self'"],
            "manifest-src": ["'self'"],
            "form-action": ["'self'"],
            "base-uri": ["'none'"],
            "frame-ancestors": ["'none'"],
            "object-src": ["'none'"],
        }

    def test_lets_inline_code_of_ours_run_by_its_nonce(self, rf):
        nonces = []

        def view(request):
            nonces.append(str(request.csp_nonce))
            return HttpResponse("page")

        first, second = (HeadersMiddleware(view)(rf.get("/accounts/")) for _ in range(2))
        assert policy(first)["script-src"] == ["'self'", f"'nonce-{nonces[0]}'"]
        assert policy(second)["style-src"] == ["'self'", f"'nonce-{nonces[1]}'"]
        assert nonces[0] != nonces[1]

    def test_makes_an_exception_for_the_admin_and_for_it_alone(self, rf):
        strict, admin = policy(self.answer(rf, "/x/admin/")), policy(self.answer(rf, "/admin/x/"))
        assert admin.pop("script-src") == ["'self'", "'unsafe-eval'"]
        assert admin.pop("style-src") == ["'self'", "'unsafe-inline'"]
        assert admin.items() <= strict.items()

    @pytest.mark.parametrize("path", ["/api/x", "/admin/autocomplete/"])
    def test_lets_data_load_nothing(self, rf, path):
        answer = self.answer(rf, path, JsonResponse({}))
        assert policy(answer) == {
            "default-src": ["'none'"],
            "base-uri": ["'none'"],
            "form-action": ["'none'"],
            "frame-ancestors": ["'none'"],
        }
        assert "Content-Security-Policy-Report-Only" not in answer

    def test_leaves_caching_to_a_view_that_says_so(self, rf):
        public = HttpResponse("page", headers={"Cache-Control": "max-age=60"})
        assert self.answer(rf, "/x", public)["Cache-Control"] == "max-age=60"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/admin/", "/accounts/login/", "/api/auth/me", "/api/nothing"])
def test_every_answer_has_the_headers(path, settings):
    settings.SECURE_HSTS_SECONDS = 31_536_000
    answer = as_role("Admin").get(path, secure=True)
    given = {name: answer[name] for name in HEADERS}
    assert given == HEADERS
    assert "no-store" in answer["Cache-Control"]
    assert "default-src 'none'" in answer["Content-Security-Policy"]


HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(),"
    " payment=(), usb=()",
}


@pytest.mark.django_db
def test_static_files_are_not_sniffed_either(client):
    assert client.get("/static/nothing.js")["X-Content-Type-Options"] == "nosniff"
