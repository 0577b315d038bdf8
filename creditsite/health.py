"""Whether this process lives (``/healthz``), and whether it can serve (``/readyz``)."""

from celery import current_app
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from kombu.exceptions import OperationalError

BROKER_SECONDS = 2
OK = "ok"


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer 200 as long as the process answers at all; restart it when this fails."""
    return JsonResponse({"status": OK})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 when database, schema and broker are there, else 503; send no traffic then."""
    checks = {"database": database(), "migrations": migrations(), "broker": broker()}
    ready = all(result == OK for result in checks.values())
    return JsonResponse(
        {"status": OK if ready else "unavailable", "checks": checks}, status=200 if ready else 503
    )


def database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        connection.close()  # A dead one would stay with this thread.
        return "no answer"
    return OK


def migrations() -> str:
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return "unknown"
    return f"{len(missing)} not applied" if missing else OK


def broker() -> str:
    try:
        with current_app.connection_for_write(connect_timeout=BROKER_SECONDS) as queue:
            queue.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
    except OperationalError:
        return "no answer"
    return OK
