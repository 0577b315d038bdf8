import io
import json
import logging
import logging.config

import pytest
import structlog
from django.db import transaction
from django.http import HttpResponse

from accounts.api.tokens import token_pair
from accounts.models import User
from accounts.tests.factories import UserFactory
from creditsite.logs import RequestLogMiddleware, logging_config


@pytest.fixture
def lines(settings):
    """The lines of the production log, as they are written."""
    stream = io.StringIO()
    config = logging_config(as_json=True, level="INFO")
    config["handlers"]["stderr"]["stream"] = stream
    logging.config.dictConfig(config)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.config.dictConfig(settings.LOGGING)


class TestRequestLogMiddleware:
    def test_takes_over_the_id_of_a_proxy(self, client):
        answer = client.get("/healthz", headers={"X-Request-ID": "proxy-0123456789"})
        assert answer["X-Request-ID"] == "proxy-0123456789"

    @pytest.mark.parametrize("given", ["", "short", "x" * 65, "with space", "a\nb", "é" * 10])
    def test_makes_one_instead_of_a_bad_one(self, rf, given):
        answer = RequestLogMiddleware(lambda request: HttpResponse())(
            rf.get("/", HTTP_X_REQUEST_ID=given)
        )
        assert answer["X-Request-ID"] != given
        assert len(answer["X-Request-ID"]) == 32

    def test_writes_the_route_and_names_nobody(self, lines, client):
        client.get("/api/docs?q=alice@example.com", headers={"X-Request-ID": "proxy-0123456789"})
        line = lines()[-1]
        del line["timestamp"], line["milliseconds"]
        assert line == {
            "event": "request",
            "level": "info",
            "logger": "creditsite.requests",
            "method": "GET",
            "request_id": "proxy-0123456789",
            "route": "api/docs",
            "status": 200,
        }

    def test_puts_the_id_on_every_line_meanwhile(self, lines, rf):
        def view(request):
            logging.getLogger("some.library").warning("meanwhile %s", "here")
            return HttpResponse()

        RequestLogMiddleware(view)(rf.get("/x", headers={"X-Request-ID": "proxy-0123456789"}))
        meanwhile, request = lines()
        assert (meanwhile["event"], meanwhile["request_id"]) == (
            "meanwhile here",
            "proxy-0123456789",
        )
        assert request["request_id"] == "proxy-0123456789"

    def test_leaves_probes_out(self, lines, client):
        client.get("/healthz")
        assert lines() == []


class TestLoggingConfig:
    def test_masks_addresses_in_what_the_database_says(self, lines):
        try:
            raise ValueError("Key (email)=(alice.b+c@mail.example.com) already exists.")
        except ValueError:
            structlog.get_logger("x").exception("refused", who="bob@example.com")
        written = json.dumps(lines())
        assert "Key (email)=(<e-mail>) already exists." in written
        assert '"who": "<e-mail>"' in written
        assert "@" not in written

    def test_masks_what_is_nested(self, lines):
        structlog.get_logger("x").warning(
            "kept",
            who=[{"by": "bob@example.com"}, ("carol@example.com", 5)],
            error=ValueError("d@e.com"),
        )
        (line,) = lines()
        assert line["who"] == [{"by": "<e-mail>"}, ["<e-mail>", 5]]
        assert line["error"] == "ValueError('<e-mail>')"

    def test_leaves_out_the_rows_that_the_database_quotes(self, lines):
        try:
            raise ValueError(
                'null value in column "x"\nDETAIL:  Failing row contains (5, Roberta Canary,\n\nB).'
                "\nCONTEXT:  SQL statement"
            )
        except ValueError:
            logging.getLogger("some.library").exception("refused")
        (line,) = lines()
        assert "Canary" not in json.dumps(line)
        assert 'null value in column "x"\nDETAIL: <left out>\nCONTEXT:  SQL' in line["exception"]

    def test_masks_keys_and_tokens(self, lines):
        token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl-_"
        logging.getLogger("some.library").warning("Api-Key ck_live_abcDEF123 and Bearer %s", token)
        assert lines()[0]["event"] == "Api-Key <secret> and Bearer <secret>"

    def test_has_routes_for_paths_in_the_lines_of_django(self, lines, client):
        client.get("/api/nothing/of/Roberta-Canary")
        client.get("/admin/Robérta-Canary%0C/")
        written = json.dumps(lines())
        assert "Not Found: <no route>" in written
        assert "Canary" not in written


@pytest.mark.django_db
class TestCanaries:
    """Somebody whose every word is found nowhere else, met in what goes well and what does not."""

    WORDS = [
        "canarymail",
        "canaryname",
        "canarypassword",
        "canaryquery",
        "canaryagent",
        "canaryrow",
    ]

    @pytest.fixture
    def told(self, lines):
        """Return the log so far, once it is sure that it was written."""

        def told(*expected):
            written = json.dumps(lines()).lower()
            assert [word for word in expected if word not in written] == []
            return [word for word in self.WORDS if word in written]

        return told

    def test_name_nobody_who_signs_up_or_in(self, told, client):
        body = {
            "email": "canarymail@example.com",
            "name": "Canaryname",
            "password": "canarypassword",
        }
        client.raise_request_exception = False
        for path in ["register", "token", "token"]:
            client.post(f"/api/auth/{path}", body, content_type="application/json")
            body = {"email": body["email"], "password": body["password"]}
        body["password"] = "canarypassword, but wrong"
        client.post("/api/auth/token", body, content_type="application/json")
        form = {"login": body["email"], "password": body["password"]}
        agent = {"User-Agent": "canaryagent"}
        client.post("/accounts/login/?next=/canaryquery/", form, headers=agent)
        client.post("/accounts/login/", form | {"password": "canarypassword"}, headers=agent)
        client.get("/accounts/password/reset/key/1-canaryquery/?canaryquery=1")
        assert told("api/auth/register", "api/auth/token", "accounts/login/") == []

    def test_name_nobody_when_something_breaks(self, told, client, monkeypatch):
        def broken(request, *args, **kwargs):
            user = UserFactory(email="canarymail@example.com", name="Canaryrow")
            User.objects.filter(pk=user.pk).update(email=None)

        monkeypatch.setattr("creditsite.site.balances.BalanceView.get", broken)
        client.raise_request_exception = False
        user = UserFactory(name="Canaryname")
        bearer = {"Authorization": f"Bearer {token_pair(user)['access']}"}
        with transaction.atomic():
            answer = client.get("/api/credits/balance", headers=bearer)
            transaction.set_rollback(True)
        assert answer.status_code == 500
        assert told("integrityerror", "detail: <left out>", "internal server error") == []
