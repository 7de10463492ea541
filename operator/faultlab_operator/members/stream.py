"""Server-sent events as a member's `/events` sends them."""

from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import msgspec

from faultlab.contract.member import MemberEvent
from faultlab_operator.errors import MemberUnreachable

LONGEST_LINE: Final = 256 * 1024
"""A line longer than this is not a member's; the connection is dropped."""

SILENCE_S: Final = 15.0
"""A stream that brings nothing for so long is taken up anew: silence and a lost peer look alike."""

_decode = msgspec.json.Decoder(MemberEvent).decode


async def member_events(
    http: aiohttp.ClientSession, url: str, after: int | None
) -> AsyncIterator[MemberEvent]:
    """Events from `url` after the id given, for as long as the connection holds.

    Raises MemberUnreachable where there is no such stream or what comes is not one.
    """
    headers = {"Accept": "text/event-stream"}
    if after is not None:
        headers["Last-Event-ID"] = str(after)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=2.0, sock_read=SILENCE_S)
    try:
        async with http.get(url, headers=headers, timeout=timeout) as response:
            if response.status != 200:
                raise MemberUnreachable(f"{url} answered {response.status}, expected a stream of events")
            async for data in _data_lines(response.content):
                yield _decode(data)
    except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError, ValueError) as error:
        raise MemberUnreachable(f"{url}: {error or type(error).__name__}") from error


async def _data_lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The `data:` of each event; a member's are one line each."""
    async for line in content:
        if len(line) > LONGEST_LINE:
            raise ValueError(f"a line of more than {LONGEST_LINE} bytes")
        if line.startswith(b"data:"):
            yield line[5:].strip()
