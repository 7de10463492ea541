"""A member as an operating-system process: its log lines, its signals, its loop, its exit code."""

import asyncio
import gc
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import uvloop

_SWITCH_INTERVAL_S = 0.0005
"""The disk thread asks for the interpreter lock when a sync ends; Python's default makes it wait 5 ms."""

SHUTDOWN_S = 0.8
"""A member that has not closed cleanly by then is left to the operating system."""

EXIT_BROKEN = 70
"""EX_SOFTWARE of sysexits.h: the process found itself in a state that it must not go on from."""


class Member(Protocol):
    """Something that runs until it is told to stop."""

    async def start(self) -> None:
        """Opens everything; raises MemberError."""
        ...

    async def hand_over(self) -> None:
        """Lets others take over what this member does, in bounded time; `stop` comes next."""
        ...

    async def stop(self) -> None:
        """Closes everything."""
        ...


class _LineFormatter(logging.Formatter):
    """One line a record: time in UTC, level, logger, message; a traceback is folded into it."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", " | ")


def log_to_stderr(level: int = logging.INFO) -> None:
    """Sets logging up for the process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)


def run(make: Callable[[], Member]) -> None:
    """Runs a member until SIGTERM or SIGINT. Raises what `make` and `start` raise, MemberError above all."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    uvloop.run(_run(make))


async def _run(make: Callable[[], Member]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    member = make()
    try:
        await member.start()
        gc.collect()
        gc.freeze()  # what is there now stays: later collections need not look at it
        await stop.wait()
        logging.getLogger("faultlab").info("stopping")
        await member.hand_over()
    finally:
        await _within(SHUTDOWN_S, member.stop())


async def _within(seconds: float, closing: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await closing
    except TimeoutError:
        logging.getLogger("faultlab").warning("not closed within %.1f s; ending anyway", seconds)
