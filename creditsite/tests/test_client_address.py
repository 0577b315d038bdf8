import pytest
from django.test import RequestFactory

from creditsite.addresses import client_address


class TestClientAddress:
    @pytest.mark.parametrize(
        ("connection", "address"),
        [("192.0.2.7", "192.0.2.7"), ("fe80::1%eth0", "fe80::1"), ("", None), ("unix:", None)],
    )
    def test_is_that_of_the_connection(self, connection, address):
        assert client_address(RequestFactory().get("/", REMOTE_ADDR=connection)) == address

    @pytest.mark.parametrize(
        ("proxies", "address"),
        [(0, "10.0.0.1"), (1, "203.0.113.9"), (2, "198.51.100.4"), (9, "192.0.2.66")],
    )
    def test_is_what_as_many_proxies_say_as_are_trusted(self, settings, proxies, address):
        settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": proxies}
        said = "192.0.2.66, 198.51.100.4, 203.0.113.9"
        request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=said)
        assert client_address(request) == address
