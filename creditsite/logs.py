"""
The log: a JSON line an event in production, plain words in a demo. It names nobody.

Every request has an id, which comes in and goes out as ``X-Request-ID`` and stands on each line
written meanwhile.
"""

import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse
from structlog.typing import EventDict, Processor, WrappedLogger

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# What PostgreSQL adds to an error: whole rows, with names and texts in them.
DETAIL = re.compile(
    r"DETAIL:.*?(?=\nCONTEXT:|\n\nThe above exception|\n\nDuring handling|\Z)", re.DOTALL
)
EMAIL = re.compile(r"[^\s@=<>(){}\[\]'\",;:]+@[^\s@=<>(){}\[\]'\",;:]+")
SECRET = re.compile(r"ck_live_\w+|eyJ[\w-]{10,}\.[\w-]+\.[\w-]+")
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
                    route=route_of(request),
                    status=response.status_code,
                    milliseconds=round((time.perf_counter() - started) * 1000, 1),
                )
        return response


def name_route(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Put the route where Django's own lines have the path."""
    request = getattr(event.get("_record"), "request", None)
    if isinstance(request, HttpRequest):
        escaped = request.path.encode("unicode_escape").decode()  # as Django writes it
        event["event"] = event["event"].replace(escaped, route_of(request) or "<no route>")
    return event


def route_of(request: HttpRequest) -> str | None:
    return request.resolver_match.route if request.resolver_match else None


def mask_people(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Take e-mail addresses, keys and the database's details out of a line, tracebacks too."""
    return {key: masked(value) for key, value in event.items()}


def masked(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {masked(key): masked(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [masked(each) for each in value]
    text = value if isinstance(value, str) else repr(value)
    text = SECRET.sub("<secret>", DETAIL.sub("DETAIL: <left out>", text))
    return EMAIL.sub("<e-mail>", text)


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
            name_route,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            mask_people,
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
