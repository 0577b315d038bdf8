#!/usr/bin/env python
"""Run a management command, on the embedded database when no other is named."""

import os
import signal
import sys
from types import FrameType


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "creditsite.settings")
    # Statements of requests and tasks are bounded; those of a command typed by hand are not.
    os.environ.setdefault("DATABASE_STATEMENT_TIMEOUT_MS", "0")
    signal.signal(signal.SIGTERM, leave)
    from django.core.management import execute_from_command_line

    from creditsite import embedded

    with embedded.for_this_process():
        execute_from_command_line(sys.argv)


def leave(number: int, frame: FrameType | None) -> None:
    """End by way of every ``finally``, so that the embedded database is left in order."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
