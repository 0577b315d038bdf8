"""A Celery worker that starts again when code changes, for `run.py dev`."""

import os
import sys

import django
from django.utils import autoreload

from creditsite.celery import app


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "creditsite.settings")
    django.setup()
    autoreload.run_with_reloader(app.worker_main, sys.argv[1:])


if __name__ == "__main__":
    main()
