"""Containers' output on disk: one file per start of a container, bounded, the previous one kept.

A line is stored as the container runtimes do: `TIME STREAM F TEXT` (`P` for a piece of an overlong line). A
file over 10 MiB becomes `FILE.old` (replacing an older one) and a new one is begun, so each start keeps
between 10 and 20 MiB of its latest output.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

MAX_FILE_BYTES = 10 * 1024 * 1024
MAX_LINE_BYTES = 16 * 1024
LAST_LINES = 80
LAST_BYTES = 2048
"""kubelet's bounds of a termination message that is taken from the log."""


class ContainerLog:
    """Takes the output of one run of a container; readers may follow while it is written."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("ab", buffering=0)
        self._size = self._file.tell()
        self._partial: dict[str, bytearray] = {}
        self._open_streams = {"stdout", "stderr"}
        self._grown = asyncio.Event()
        self.closed = False

    def feed(self, stream: str, data: bytes) -> None:
        """Bytes of a stream; empty ones end it. The log closes when both streams have ended."""
        pending = self._partial.setdefault(stream, bytearray())
        pending += data
        now = _stamp(datetime.now(UTC))
        out = bytearray()
        head = now + b" " + stream.encode()
        *lines, rest = bytes(pending).split(b"\n")
        for line in lines:
            _append(out, head, line)
        while len(rest) > MAX_LINE_BYTES:
            out += head + b" P " + rest[:MAX_LINE_BYTES] + b"\n"
            rest = rest[MAX_LINE_BYTES:]
        if not data:
            if rest:
                _append(out, head, rest)
            rest = b""
            self._open_streams.discard(stream)
        self._partial[stream] = bytearray(rest)
        self._write(bytes(out))
        if not self._open_streams:
            self.close()

    def close(self) -> None:
        """No more will come. Idempotent."""
        if not self.closed:
            self.closed = True
            self._file.close()
            self._wake()

    async def wait_for_more(self) -> None:
        """Returns once something was written, or the log closed, after the call."""
        await self._grown.wait()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    def _write(self, data: bytes) -> None:
        if not data or self.closed:
            return
        if self._size + len(data) > MAX_FILE_BYTES:
            self._file.close()
            os.replace(self.path, _old(self.path))
            self._file = self.path.open("ab", buffering=0)
            self._size = 0
        self._file.write(data)
        self._size += len(data)
        self._wake()


def _stamp(moment: datetime) -> bytes:
    """A time in UTC as lines begin with it; sorts as the times do."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()


def _append(out: bytearray, head: bytes, line: bytes) -> None:
    while len(line) > MAX_LINE_BYTES:
        out += head + b" P " + line[:MAX_LINE_BYTES] + b"\n"
        line = line[MAX_LINE_BYTES:]
    out += head + b" F " + line + b"\n"


def _old(path: Path) -> Path:
    return path.with_name(path.name + ".old")


def remove(path: Path) -> None:
    """Deletes a run's files."""
    for file in (path, _old(path)):
        with suppress(FileNotFoundError):
            file.unlink()


def render(line: bytes, timestamps: bool) -> bytes:
    """A stored line as `kubectl logs` shows it."""
    time, _, rest = line.partition(b" ")
    _, _, rest = rest.partition(b" ")
    whole, _, text = rest.partition(b" ")
    head = time + b" " if timestamps else b""
    return head + text + (b"\n" if whole == b"F" else b"")


def _stored_lines(path: Path) -> Iterator[bytes]:
    for file in (_old(path), path):
        with suppress(FileNotFoundError), file.open("rb") as source:
            for line in source:
                yield line.rstrip(b"\n")


def last_words(path: Path) -> str:
    """The end of the log as a container's termination message has it: at most 80 lines and 2048 bytes."""
    lines = deque(_stored_lines(path), maxlen=LAST_LINES)
    text = b"".join(render(line, timestamps=False) for line in lines)
    return text[-LAST_BYTES:].decode(errors="replace")


async def read(
    path: Path,
    log: ContainerLog | None,
    *,
    follow: bool,
    tail_lines: int | None,
    timestamps: bool,
    since: datetime | None = None,
) -> AsyncIterator[bytes]:
    """What was written so far (of that what is not older than `since` and the last `tail_lines`, where
    given); with `follow` and an open `log` also what comes."""
    follower = _Follower(path) if follow and log is not None and not log.closed else None
    stored: Iterator[bytes] = _stored_lines(path)
    if since is not None:
        oldest = _stamp(since)
        stored = (line for line in stored if line >= oldest)
    if tail_lines is not None:
        stored = iter(deque(stored, maxlen=tail_lines))
    piece = bytearray()
    for line in stored:
        piece += render(line, timestamps)
        if len(piece) >= MAX_LINE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)
    if follower is None or log is None:
        return
    with follower:
        while True:
            more = follower.read(timestamps)
            if more:
                yield more
            elif log.closed:
                return
            else:
                await log.wait_for_more()


class _Follower:
    """Reads on from where the file ended when it was made, across rotations."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> _Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, timestamps: bool) -> bytes:
        data = self._file.read()
        if not data and self._rotated():
            self._file.close()
            self._file = self._path.open("rb")
            data = self._file.read()
        return b"".join(render(line, timestamps) for line in data.split(b"\n") if line)

    def _rotated(self) -> bool:
        return os.fstat(self._file.fileno()).st_ino != self._path.stat().st_ino
