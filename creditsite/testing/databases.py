"""Databases of a test's own, for what must really commit: threads, workers, browsers."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import psycopg
from django.db import connections

serial = count(1)


@contextmanager
def template_of_test_database() -> Iterator[str]:
    """Copy the test database, fresh from its migrations; give the copy's name."""
    name = f"{database_name()}_template"
    connections.close_all()
    create_database(name, template=database_name())
    try:
        yield name
    finally:
        drop_database(name)


@contextmanager
def cloned_database(template: str) -> Iterator[str]:
    """
    Point the default connection of every thread at a new copy of ``template``; give its name.

    The connection of before keeps its open transaction and comes back when the block ends.
    """
    before, original = connections["default"], database_name()
    name = f"{template}_{next(serial)}"
    create_database(name, template=template)
    connections.settings["default"]["NAME"] = name
    connections["default"] = connections.create_connection("default")
    try:
        yield name
    finally:
        connections["default"].close()
        connections["default"] = before
        connections.settings["default"]["NAME"] = original
        drop_database(name)


def database_name() -> str:
    return str(connections.settings["default"]["NAME"])


def create_database(name: str, *, template: str) -> None:
    drop_database(name)
    execute_on_server(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')


def drop_database(name: str) -> None:
    """Drop a database; whoever is still connected, as a thread that a test left, is thrown out."""
    execute_on_server(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def execute_on_server(statement: str) -> None:
    settings = connections.settings["default"]
    # Whom a test connects as while it is somebody with fewer rights.
    administrator = settings.get("ADMINISTRATOR") or settings
    with psycopg.connect(
        host=settings["HOST"],
        port=settings["PORT"],
        user=administrator["USER"],
        password=administrator["PASSWORD"],
        dbname="postgres",
        autocommit=True,
    ) as server:
        server.execute(statement.encode())
