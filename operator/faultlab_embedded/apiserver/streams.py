"""Streams to clients that may go away, or stop taking what they get, at any time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

WRITE_TIMEOUT_S = 30.0
"""A client that takes nothing for so long is cut off."""
HEADERS_AFTER_S = 1.0
LIVENESS_CHECK_S = 5.0
"""How often a stream that has nothing to say looks whether anybody is still there."""


def has_left(request: web.Request) -> bool:
    """Whether the client's connection is gone."""
    transport = request.transport
    return transport is None or transport.is_closing()


async def send(response: web.StreamResponse, data: bytes) -> None:
    """Write, waiting for the client. Raises TimeoutError or ConnectionError where it does not take it."""
    async with asyncio.timeout(WRITE_TIMEOUT_S):
        await response.write(data)


async def pump(request: web.Request, response: web.StreamResponse, pieces: AsyncIterator[bytes]) -> None:
    """Pass pieces on until they end or the client goes; the iterator is closed either way.

    An error that comes instead of the first piece is raised while the answer can still become a Status,
    unless it takes longer than HEADERS_AFTER_S.
    """
    waiting = asyncio.ensure_future(anext(pieces, None))
    try:
        if not response.prepared:
            await asyncio.wait((waiting,), timeout=HEADERS_AFTER_S)
            if waiting.done():
                waiting.result()
            await response.prepare(request)
        while True:
            while not waiting.done():
                await asyncio.wait((waiting,), timeout=LIVENESS_CHECK_S)
                if not waiting.done() and has_left(request):
                    return
            piece = waiting.result()
            if piece is None:
                break
            await send(response, piece)
            waiting = asyncio.ensure_future(anext(pieces, None))
        await response.write_eof()
    except (ConnectionError, TimeoutError):
        pass  # the client is gone, or takes nothing
    finally:
        await _close(waiting, pieces)


async def _close(waiting: asyncio.Future[bytes | None], pieces: AsyncIterator[bytes]) -> None:
    if not waiting.done():
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
    close = getattr(pieces, "aclose", None)
    if close is not None:
        await close()
