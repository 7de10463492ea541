"""One member followed: its status by polling, its events by a stream that is taken up where it broke."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import aiohttp
import msgspec

from faultlab.contract.member import MemberEvent, RaftStatus
from faultlab.contract.ports import ADMIN_PORT
from faultlab.contract.run import MemberView
from faultlab_operator.errors import MemberUnreachable
from faultlab_operator.members.stream import member_events

log = logging.getLogger(__name__)

FAST_S: Final = 0.3
"""Between polls while somebody is in a hurry or the cluster is not settled."""
SLOW_S: Final = 2.0
POLL_TIMEOUT_S: Final = 1.0
RECONNECT_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""After the first, second, ... break of the event stream in a row; the last for all further ones."""

_decode_status = msgspec.json.Decoder(RaftStatus).decode


class MemberFollower:
    """Follows the member at one address until closed.

    `on_status` is called after each poll whose outcome differs in anything but indexes, `on_event`
    once for each event, in order; a gap in the ids of one process is counted in `lost`.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        name: str,
        address: str,
        *,
        hurried: Callable[[], bool],
        on_status: Callable[[], None],
        on_event: Callable[[MemberEvent], None],
        port: int = ADMIN_PORT,
        uid: str = "",
    ) -> None:
        self.name = name
        self.address = address
        self.uid = uid
        """The pod's."""
        self.view = MemberView(name=name, reachable=False)
        self.lost = 0
        self._http = http
        self.base = f"http://{f'[{address}]' if ':' in address else address}:{port}"
        """URL of its admin port."""
        self._hurried = hurried
        self._on_status = on_status
        self._on_event = on_event
        self._now = asyncio.Event()
        self._failures = 0
        self._last: tuple[str, int] | None = None
        """Incarnation and id of the last event."""
        self._last_started_at: str | None = None
        """`startedAt` of the process that sent it."""
        self._tasks = [
            asyncio.create_task(self._poll(), name=f"poll {name}"),
            asyncio.create_task(self._follow_events(), name=f"events {name}"),
        ]

    def poll_now(self) -> None:
        """Has the status polled at once."""
        self._now.set()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _status(self) -> RaftStatus:
        """Raises MemberUnreachable."""
        timeout = aiohttp.ClientTimeout(total=POLL_TIMEOUT_S)
        try:
            async with self._http.get(f"{self.base}/status", timeout=timeout) as response:
                body = await response.read()
                if response.status != 200:
                    raise MemberUnreachable(f"{self.name}: /status answered {response.status}")
                return _decode_status(body)
        except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError) as error:
            raise MemberUnreachable(f"{self.name}: /status: {error or type(error).__name__}") from error

    async def refresh(self) -> bool:
        """Polls the status now and says whether it was answered."""
        before = self.view
        try:
            self.view = MemberView(self.name, reachable=True, status=await self._status())
            self._failures = 0
        except MemberUnreachable as error:
            self._failures += 1
            # One lost answer of a busy process is no news; what was known stays beside the flag.
            reachable = self._failures < 2 and before.reachable
            self.view = MemberView(self.name, reachable=reachable, status=before.status)
            log.debug("%s", error)
        if _news(self.view) != _news(before):
            self._on_status()
        return self._failures == 0

    async def _poll(self) -> None:
        while True:
            self._now.clear()
            await self.refresh()
            try:
                async with asyncio.timeout(FAST_S if self._failures or self._hurried() else SLOW_S):
                    await self._now.wait()
            except TimeoutError:
                continue

    async def _follow_events(self) -> None:
        breaks = 0
        while True:
            try:
                if await self._one_stream():
                    breaks = 0
            except MemberUnreachable as error:
                log.debug("%s", error)
            if breaks == 0:
                # A stream mostly breaks because its process ended.
                self.poll_now()
            await asyncio.sleep(RECONNECT_S[min(breaks, len(RECONNECT_S) - 1)])
            breaks += 1

    async def _one_stream(self) -> bool:
        """Follows one connection to its end; says whether any event came.

        Ids start again with each process, so the last one is only named to the process that gave
        it: `startedAt` tells. Otherwise everything is asked for, and what is known is dropped here.
        """
        status = await self._status()
        same = self._last is not None and status.started_at == self._last_started_at
        after = self._last[1] if same and self._last is not None else None
        any_came = False
        async for event in member_events(self._http, f"{self.base}/events", after):
            any_came = True
            self._take(event, status.started_at)
        return any_came

    def _take(self, event: MemberEvent, started_at: str) -> None:
        if self._last is not None and self._last[0] == event.incarnation:
            if event.id <= self._last[1]:
                return
            self.lost += event.id - self._last[1] - 1
        elif event.id > 1:
            self.lost += event.id - 1
        self._last = (event.incarnation, event.id)
        self._last_started_at = started_at
        self._on_event(event)


def _news(view: MemberView) -> tuple[object, ...]:
    """What of a view is worth telling: indexes move all the time."""
    status = view.status
    if status is None:
        return (view.reachable,)
    return (
        view.reachable,
        status.role,
        status.term,
        status.leader,
        status.ready,
        status.started_at,
        status.configuration,
    )
