"""
The log: a JSON line an event in production, plain words in a demo. It names nobody.

Every request has an id, which comes in and goes out as ``X-Request-ID`` and stands on each line
written meanwhile.
"""

import re
import time
import uuid
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse
from structlog.typing import EventDict, Processor, WrappedLogger

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
EMAIL = re.compile(r"[^\s@=<>(){}\[\]'\",;:]+@[^\s@=<>(){}\[\]'\",;:]+")
QUIET = ["/healthz", "/readyz", "/static/"]

log = structlog.get_logger("creditsite.requests")


class RequestLogMiddleware:
    """
    Give each request its id and write one line about it.

    The line has the route and not the path, whose search terms and ids could name people.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self.get_response(request)
            response["X-Request-ID"] = request_id
            if not request.path.startswith(tuple(QUIET)):
                log.info(
                    "request",
                    method=request.method,
                    route=request.resolver_match.route if request.resolver_match else None,
                    status=response.status_code,
                    milliseconds=round((time.perf_counter() - started) * 1000, 1),
                )
        return response


def mask_emails(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Take e-mail addresses out of what is logged, tracebacks of the database's errors included."""
    for key, value in event.items():
        if isinstance(value, str) and "@" in value:
            event[key] = EMAIL.sub("<e-mail>", value)
    return event


def logging_config(*, as_json: bool, level: str) -> dict[str, object]:
    """Return Django's ``LOGGING``, through which the lines of all libraries go as well."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": shared,
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            mask_emails,
            renderer,
        ],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        # Django's own handlers would write each line a second time, or mail it.
        "loggers": {
            "django": {"handlers": [], "level": level, "propagate": True},
            "django.server": {"handlers": [], "level": level, "propagate": False},
        },
    }
