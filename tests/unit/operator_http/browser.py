"""A real browser without a screen, driven over the DevTools protocol."""

import asyncio
import itertools
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
STARTS_WITHIN_S = 40.0


class Browser:
    """One page; `complaints` are what it wrote to its console, policy violations among it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.complaints: list[str] = []
        self.loaded = asyncio.Event()
        self._task = asyncio.create_task(self._listen())

    async def send(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(30):
            return await answer

    async def open(self, url: str) -> None:
        self.loaded.clear()
        await self.send("Page.navigate", url=url)
        async with asyncio.timeout(30):
            await self.loaded.wait()

    async def run(self, script: str) -> Any:
        """What the expression gives in the page, promises awaited."""
        answer = await self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, script: str, within_s: float = 20.0) -> Any:
        deadline = asyncio.get_running_loop().time() + within_s
        while not (value := await self.run(script)):
            assert asyncio.get_running_loop().time() < deadline, f"{script} not within {within_s} s"
            await asyncio.sleep(0.1)
        return value

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> None:
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                answer = self._waiting.pop(said["id"])
                if "error" in said:
                    answer.set_exception(RuntimeError(str(said["error"])))
                else:
                    answer.set_result(said.get("result"))
            elif said["method"] == "Page.loadEventFired":
                self.loaded.set()
            elif said["method"] == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.complaints.append(str(said["params"]["entry"]))
            elif said["method"] == "Runtime.exceptionThrown":
                self.complaints.append(str(said["params"]))


@asynccontextmanager
async def browser(home: Path) -> AsyncIterator[Browser]:
    """A browser of its own that is gone afterwards."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
        "--no-first-run", f"--user-data-dir={home}", "--window-size=1200,900", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        port = await asyncio.to_thread(_port, home / "DevToolsActivePort")
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{port}/json/list") as listed:
                pages = [each for each in await listed.json() if each["type"] == "page"]
            async with http.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                made = Browser(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await made.send(f"{domain}.enable")
                yield made
                await made.close()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _port(file: Path) -> int:
    """Once the browser has written it down."""
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline:
        if file.exists() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.05)
    raise AssertionError("the browser did not start")
