"""Where objects are kept between two lives of the world: one SQLite file, or nothing.

WAL with synchronous=NORMAL: a write is safe from the death of the process as soon as it returns, and from a
loss of power within moments. Every write also moves the version, in the same transaction, so that
resourceVersions go on.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from faultlab_embedded.store.errors import InternalError
from faultlab_embedded.store.log import Record

FORMAT = 1
FIRST_VERSION = 1

_SCHEMA = """
create table if not exists objects (
    resource text not null, namespace text not null, name text not null,
    version integer not null, data blob not null,
    primary key (resource, namespace, name)
) without rowid;
create table if not exists meta (key text primary key, value integer not null) without rowid;
"""


class Database:
    """Objects on disk; `path` None keeps nothing. Raises InternalError for a file it cannot work with."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self.version = FIRST_VERSION
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(path, isolation_level=None)
            self.version = self._prepare(self._connection)
        except sqlite3.DatabaseError as error:
            raise InternalError(
                f"the objects' file {path} cannot be used ({error}): remove it to start with an empty world"
            ) from error

    @staticmethod
    def _prepare(connection: sqlite3.Connection) -> int:
        connection.execute("pragma journal_mode=wal")
        connection.execute("pragma synchronous=normal")
        connection.executescript(_SCHEMA)
        meta = dict(connection.execute("select key, value from meta"))
        if meta.setdefault("format", FORMAT) != FORMAT:
            raise sqlite3.DatabaseError(f"it has format {meta['format']}, expected {FORMAT}")
        version = int(meta.setdefault("version", FIRST_VERSION))
        connection.executemany("insert or ignore into meta values (?, ?)", meta.items())
        return version

    def load(self) -> Iterator[Record]:
        """Every object."""
        if self._connection is None:
            return
        rows = self._connection.execute(
            "select resource, namespace, name, version, data from objects order by version"
        )
        for resource, namespace, name, version, data in rows:
            meta = msgspec.json.decode(data)["metadata"]
            yield Record(resource, namespace, name, meta["uid"], version, meta.get("labels") or {}, data)

    def put(self, record: Record) -> None:
        """Store a record in place of the one before."""
        row = (record.resource, record.namespace, record.name, record.version, record.raw)
        self._write(record.version, "insert or replace into objects values (?, ?, ?, ?, ?)", row)

    def remove(self, record: Record) -> None:
        """Forget an object; `record` carries the version of its removal."""
        where = (record.resource, record.namespace, record.name)
        self._write(
            record.version, "delete from objects where resource = ? and namespace = ? and name = ?", where
        )

    def _write(self, version: int, statement: str, values: tuple[object, ...]) -> None:
        if self._connection is None:
            return
        try:
            self._connection.execute("begin")
            self._connection.execute(statement, values)
            self._connection.execute("update meta set value = ? where key = 'version'", (version,))
            self._connection.execute("commit")
        except sqlite3.DatabaseError as error:
            with contextlib.suppress(sqlite3.DatabaseError):
                self._connection.execute("rollback")
            raise InternalError(f"the objects' file {self._path} cannot be written: {error}") from error

    def close(self) -> None:
        """Fold the write-ahead log into the file. Safe to call twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
