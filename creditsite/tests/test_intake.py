import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client

from creditsite.intake import IntakeMiddleware
from creditsite.testing.people import as_role

HIDDEN = ["%00", "a%1Fb", "%7F", "%C2%85", "%E2%80%AE", "%E2%81%A6", "%EF%BF%BD", "%FF", "%C3%28"]


@pytest.mark.django_db
class TestIntakeMiddleware:
    @pytest.mark.parametrize("hidden", HIDDEN)
    def test_refuses_a_query_that_hides_something(self, hidden):
        client = as_role("Admin")
        assert client.get(f"/admin/ledger/wallet/?q={hidden}").status_code == 400
        assert client.get(f"/admin/ledger/wallet/?{hidden}=1").status_code == 400
        answer = client.get(f"/api/credits/transactions?reference_id={hidden}")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")

    @pytest.mark.parametrize("hidden", ["%00", "%1F", "%E2%80%AE", "%EF%BF%BD"])
    def test_refuses_a_path_that_hides_something(self, client, hidden):
        assert client.get(f"/admin/ledger/wallet/{hidden}/change/").status_code == 400

    @pytest.mark.parametrize("query", ["q=Jos%C3%A9+%F0%9F%91%A9", "q=a%0D%0Ab%09", "q=100%", ""])
    def test_takes_what_people_type(self, query):
        assert as_role("Admin").get(f"/admin/ledger/wallet/?{query}").status_code == 200

    def test_refuses_a_body_that_is_too_large(self, client, settings):
        settings.MAX_UPLOAD_BYTES = 100
        for path in ["/accounts/login/", "/api/auth/token"]:
            answer = client.post(path, {"email": "a" * 100}, content_type="application/json")
            assert answer.status_code == 400

    @pytest.mark.parametrize(
        "form",
        [
            {f"field{number}": "" for number in range(1_001)},
            {"login": "a" * 1_048_577},
            {f"file{number}": SimpleUploadedFile("a", b"a") for number in range(6)},
        ],
        ids=["fields", "text", "files"],
    )
    def test_refuses_a_form_that_is_too_large(self, form):
        strict = Client(enforce_csrf_checks=True)
        strict.get("/accounts/login/")
        assert strict.post("/accounts/login/", form).status_code == 400

    @pytest.mark.parametrize("length", ["-1", "１２", "1e3", "x"])
    def test_refuses_a_length_that_is_none(self, client, length):
        assert client.post("/accounts/login/", CONTENT_LENGTH=length).status_code == 400

    @pytest.mark.parametrize("cookie", ['"\\000abcdefgh"', '"\\033[31mabcdefgh"'])
    def test_drops_a_cookie_that_smuggles_control_characters(self, client, settings, cookie):
        name = settings.SESSION_COOKIE_NAME
        assert client.get("/admin/", HTTP_COOKIE=f"{name}={cookie}").status_code == 302

    def test_keeps_the_other_cookies_and_an_agent_in_ascii(self, rf):
        request = rf.get(
            "/", HTTP_COOKIE='a="\\000"; b=kept', HTTP_USER_AGENT="Mozilla/5.0 (\u202eX\x1b[31m)"
        )
        seen = []
        IntakeMiddleware(lambda request: seen.append(request) or HttpResponse())(request)
        assert seen[0].COOKIES == {"b": "kept"}
        assert seen[0].headers["User-Agent"] == "Mozilla/5.0 (?X?[31m)"


@pytest.mark.django_db
@pytest.mark.parametrize("host", ["evil.example", "testserver.evil.example", "testserver@evil", ""])
def test_a_host_that_is_not_ours_gets_nowhere(client, settings, host):
    settings.ALLOWED_HOSTS = ["testserver"]
    for path in ["/accounts/login/", "/accounts/password/reset/", "/admin/"]:
        answer = client.get(path, HTTP_HOST=host, HTTP_X_FORWARDED_HOST="testserver")
        assert answer.status_code == 400, (path, host)
