"""What gunicorn.conf.py promises, by a gunicorn of one thread before a tiny application."""

import http.client
import os
import socket
import subprocess
import sys
import time

import pytest

from creditsite.running.environment import ROOT
from creditsite.testing.ports import free_port_pair

APPLICATION = """
def application(environ, start_response):
    try:
        environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", "2")])
    except OSError:
        start_response("400 Bad Request", [("Content-Length", "2")])
    return [b"ok"]
"""


@pytest.fixture
def port(tmp_path):
    (tmp_path / "tiny.py").write_text(APPLICATION)
    port = free_port_pair()
    command = ["-m", "gunicorn", "tiny", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"]
    server = subprocess.Popen(
        [sys.executable, *command, "--threads", "1", "--no-control-socket"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "SLOW_CLIENT_SECONDS": "1"},
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert server.poll() is None
                time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait()


def status(port, *, path="/", headers=()):
    site = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    site.request("GET", path, headers=dict(headers))
    return site.getresponse().status


@pytest.mark.parametrize(
    "begun",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: ",
    ],
    ids=["body", "headers"],
)
def test_a_request_that_does_not_go_on_gives_its_thread_back(port, begun):
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(begun)
        time.sleep(0.2)
        assert status(port) == 200


def test_addresses_and_headers_are_bounded(port):
    assert status(port, path="/" + "a" * 9_000) == 414
    assert status(port, headers={"X-Large": "a" * 9_000}) == 431
    assert status(port, headers={f"X-{n}": "a" for n in range(61)}) == 431
