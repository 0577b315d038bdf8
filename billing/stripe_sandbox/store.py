"""Everything that the sandbox keeps: one SQLite file, which outlives a killed process."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

Object = dict[str, Any]

TABLES = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    created INTEGER NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS objects_of_kind ON objects (kind, seq);
CREATE INDEX IF NOT EXISTS objects_of_customer
    ON objects (kind, json_extract(body, '$.customer'), seq);
CREATE INDEX IF NOT EXISTS objects_of_payment
    ON objects (kind, json_extract(body, '$.payment_intent'), seq);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, request TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL,
    kept_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL, endpoint TEXT NOT NULL,
    due REAL NOT NULL, tries INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL, answer TEXT);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (state, due, id);
CREATE TABLE IF NOT EXISTS timers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, clock TEXT NOT NULL, due INTEGER NOT NULL,
    act TEXT NOT NULL, object TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT, of TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Store:
    """One connection under one lock: what a request changes is committed whole, or not at all."""

    def __init__(self, path: str) -> None:
        self.lock = RLock()
        self.db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = OFF")  # A killed process loses nothing by it.
        self.db.executescript(TABLES)

    def close(self) -> None:
        with self.lock:
            self.db.close()

    @contextmanager
    def change(self) -> Iterator[None]:
        """Commit what the block does, or roll it back if it raises."""
        with self.lock:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Within a change, roll back what the block did if it raises."""
        self.db.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK TO attempt")
            raise
        finally:
            self.db.execute("RELEASE attempt")

    def all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.lock:
            return self.db.execute(sql, values).fetchall()

    def one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        return next(iter(self.all(sql, *values)), None)

    # --- Objects ----------------------------------------------------------------------------------
    def get(self, id: str, kind: str | None = None) -> Object | None:
        row = self.one("SELECT kind, body FROM objects WHERE id = ?", id)
        return json.loads(row[1]) if row and kind in {None, row[0]} else None

    def save(self, item: Object) -> Object:
        kept = json.dumps(item)
        self.db.execute(
            "INSERT INTO objects (id, kind, created, body) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            [item["id"], item["object"], item.get("created", 0), kept],
        )
        return item

    def delete(self, id: str) -> None:
        self.db.execute("DELETE FROM objects WHERE id = ?", [id])

    def find(
        self,
        kind: str,
        fields: dict[str, Any],
        *,
        created: dict[str, int] | None = None,
        after: str | None = None,
        before: str | None = None,
        limit: int = -1,
    ) -> list[Object]:
        """Return objects, newest first, whose dotted ``fields`` have a value, or one of a list."""
        where, values = ["kind = ?"], list[Any]([kind])
        for name, value in fields.items():
            wanted = value if isinstance(value, list) else [value]
            where.append(f"json_extract(body, '$.{name}') IN ({', '.join('?' * len(wanted))})")
            values += wanted
        for name, instant in (created or {}).items():
            where.append(f"created {COMPARISONS[name]} ?")
            values.append(instant)
        for sign, id in [("<", after), (">", before)]:
            if id:
                where.append(f"seq {sign} (SELECT seq FROM objects WHERE id = ?)")  # noqa: S608
                values.append(id)
        order = "ASC" if before else "DESC"
        rows = self.all(
            f"SELECT body FROM objects WHERE {' AND '.join(where)} ORDER BY seq {order} LIMIT ?",  # noqa: S608
            *values,
            limit,
        )
        found = [json.loads(body) for (body,) in rows]
        return found[::-1] if before else found

    # --- Facts and rules --------------------------------------------------------------------------
    def fact(self, name: str, default: Any) -> Any:
        row = self.one("SELECT value FROM facts WHERE name = ?", name)
        return json.loads(row[0]) if row else default

    def set_fact(self, name: str, value: Any) -> None:
        self.db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", [name, json.dumps(value)])

    def rules(self, of: str) -> list[tuple[int, Object]]:
        rows = self.all("SELECT id, body FROM rules WHERE of = ? ORDER BY id", of)
        return [(id, json.loads(body)) for id, body in rows]

    def add_rule(self, of: str, rule: Object) -> None:
        self.db.execute("INSERT INTO rules (of, body) VALUES (?, ?)", [of, json.dumps(rule)])

    def change_rule(self, id: int, rule: Object | None) -> None:
        """Keep a rule as it now is; ``None`` is none any more."""
        if rule is None:
            self.db.execute("DELETE FROM rules WHERE id = ?", [id])
        else:
            self.db.execute("UPDATE rules SET body = ? WHERE id = ?", [json.dumps(rule), id])

    def clear(self, tables: Iterable[str]) -> None:
        for table in tables:
            self.db.execute(f"DELETE FROM {table}")  # noqa: S608


COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
