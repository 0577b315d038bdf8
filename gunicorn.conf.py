"""
What gunicorn allows a client, wherever it is started in a checkout.

A proxy that reads whole requests before it passes them on belongs in front; these hold without one.
"""

import os
import socket
import struct
from typing import Any

limit_request_line = 8190
limit_request_fields = 60
limit_request_field_size = 8190

# Seconds that a thread waits for more of a request which has begun.
PATIENCE = int(os.environ.get("SLOW_CLIENT_SECONDS") or 10)


def when_ready(server: Any) -> None:
    """Let no thread wait for ever for a slow request: accepted sockets inherit the limit."""
    for listener in server.LISTENERS:
        listener.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", PATIENCE, 0)
        )
