"""Ports of this machine that are free at the moment."""

import random

from creditsite.embedded import is_free

# Below those that Linux gives to outgoing connections: a port of theirs may be gone any moment.
PORTS = range(10_000, 32_000)


def free_ports(count: int) -> int:
    """Return a port that is free together with those after it, ``count`` in all."""
    while True:
        port = random.choice(PORTS)
        if all(is_free(port + n) for n in range(count)):
            return port


def free_port_pair() -> int:
    """Return a port that is free together with the next one: a site's, and its database's."""
    return free_ports(2)
