"""What a page of another site cannot make a browser of ours do."""

import pytest
from django.test import Client

from accounts.tests.sign_in import LOGIN, PASSWORD, member, sign_in
from creditsite.testing.people import as_role

ELSEWHERE = [
    "https://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "http:evil.example",
    "https:/evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "https://testserver@evil.example/",
    "https://testserver.evil.example/",
    " https://evil.example/",
]


@pytest.mark.django_db
@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_no_page_leads_elsewhere(elsewhere):
    user = member()
    answers = [
        sign_in(Client(), user.email, query_params={"next": elsewhere}),
        Client().post(LOGIN, {"login": user.email, "password": PASSWORD, "next": elsewhere}),
        Client().get("/admin/login/", {"next": elsewhere}),
        as_role("Admin").get(LOGIN, {"next": elsewhere}),
        as_role("Finance").post(
            "/accounts/reauthenticate/", {"password": "x"}, query_params={"next": elsewhere}
        ),
        as_role("Support").post("/accounts/logout/", query_params={"next": elsewhere}),
    ]
    for answer in answers:
        to = answer.headers.get("Location", "/")
        assert to.startswith("/")
        assert not to.startswith(("//", "/\\"))


@pytest.mark.django_db
class TestForgery:
    """Signing somebody in or out, or acting in their name, takes the token of our own page."""

    @pytest.mark.parametrize(
        "path", [LOGIN, "/accounts/signup/", "/accounts/password/reset/", "/accounts/logout/"]
    )
    def test_is_refused(self, path):
        stranger = Client(enforce_csrf_checks=True)
        assert (
            stranger.post(path, {"login": member().email, "password": PASSWORD}).status_code == 403
        )

    def test_is_refused_in_the_admin(self):
        finance = as_role("Finance")
        finance.handler.enforce_csrf_checks = True
        assert finance.post("/admin/ledger/feature/add/", {"code": "x"}).status_code == 403

    def test_is_refused_with_the_token_of_another_browser(self):
        stranger, own = Client(enforce_csrf_checks=True), Client(enforce_csrf_checks=True)
        token = own.get(LOGIN).context["csrf_token"]
        form = {"login": member().email, "password": PASSWORD, "csrfmiddlewaretoken": str(token)}
        stranger.get(LOGIN)
        assert stranger.post(LOGIN, form).status_code == 403
        assert own.post(LOGIN, form).status_code == 302

    def test_is_refused_from_another_origin(self):
        own = Client(enforce_csrf_checks=True)
        token = own.get(LOGIN).context["csrf_token"]
        form = {"login": member().email, "password": PASSWORD, "csrfmiddlewaretoken": str(token)}
        assert own.post(LOGIN, form, HTTP_ORIGIN="https://evil.example").status_code == 403


@pytest.mark.django_db
def test_cookies_are_out_of_reach(settings):
    answer = sign_in(Client(), member().email)
    cookie = answer.cookies[settings.SESSION_COOKIE_NAME]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (
        True, "Lax", "/", "",
    )  # fmt: skip
    assert "messages" not in answer.cookies
