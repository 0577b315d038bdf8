"""The verifier at work on this installation: its connection, its files, and what came of it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection

from audit.models import Verification
from audit.sources import SOURCES
from audit.verification import Report, State, verify

FINDINGS_KEPT = 100
ADDRESS = ("host", "port", "dbname", "user", "password", "sslmode", "sslrootcert", "options")


@dataclass(frozen=True)
class Verified:
    """A report, and how long it took."""

    report: Report
    seconds: float


def verify_record(
    *,
    checkpoint_file: str,
    state_file: str,
    public_keys: Collection[str] = (),
    with_sources: bool = False,
) -> Verified:
    """
    Verify the record on a connection of its own, and keep the state of a record that is sound.

    An empty file name means none. ``with_sources`` reads the rows of every source too.
    """
    started = perf_counter()
    state = Path(state_file) if state_file else None
    with psycopg.connect(**address()) as database:
        database.execute("SET statement_timeout = 0")
        database.commit()
        database.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        database.read_only = True
        report = verify(
            database,
            file=Path(checkpoint_file) if checkpoint_file else None,
            state=State.read(state) if state else None,
            public_keys=public_keys,
            sources=list(SOURCES.values()) if with_sources else [],
        )
    if state and report.state:
        report.state.write(state)
    return Verified(report, perf_counter() - started)


def address() -> dict[str, Any]:
    """Return what connects to the database of this installation, without Django's ways with it."""
    parameters = connection.get_connection_params()
    return {name: parameters[name] for name in ADDRESS if name in parameters}


def verify_and_keep(*, at: datetime, with_sources: bool) -> Verification:
    """Verify the record as this installation is set up, and keep what came of it for staff."""
    verified = verify_record(
        checkpoint_file=settings.AUDIT_CHECKPOINT_FILE,
        state_file=settings.AUDIT_STATE_FILE,
        public_keys=settings.AUDIT_PUBLIC_KEYS,
        with_sources=with_sources,
    )
    report = verified.report
    return Verification.objects.create(
        at=at,
        is_sound=report.is_sound,
        seals=report.seals,
        unsealed=len(report.unsealed),
        seconds=verified.seconds,
        findings=[each.says for each in report.breaks[:FINDINGS_KEPT]],
    )
