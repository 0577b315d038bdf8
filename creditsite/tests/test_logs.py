import io
import json
import logging
import logging.config

import pytest
import structlog
from django.http import HttpResponse

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
