"""Ports of this machine that are free at the moment."""

import socket


def free_port_pair() -> int:
    """Return a port that is free together with the next one: a site's, and its database's."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            if second.connect_ex(("127.0.0.1", port + 1)) != 0 and port < 65_000:
                return port
