"""The judge as a child process: the operator's loop, on which leases are renewed, never waits for it."""

import asyncio
import logging
import sys
from pathlib import Path

log = logging.getLogger(__name__)

GRACE_S = 15.0
"""Beyond the judge's own deadline, before it is killed."""


class JudgeProcess:
    """One judge on one run's directory. It ends by itself; `close` kills it."""

    def __init__(self, directory: Path, deadline_s: float) -> None:
        self.error = ""
        """Why it gave no verdict; empty while it runs and when it did."""
        self._directory = directory
        self._timeout_s = deadline_s + GRACE_S
        self._task = asyncio.create_task(self._run(), name=f"judge {directory.name}")

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "faultlab_operator.scenario.judge",
                str(self._directory),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            self.error = f"the judge could not be started: {error}"
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                _, said = await process.communicate()
            if process.returncode != 0:
                last = said.decode(errors="replace").strip().splitlines()[-1:]
                self.error = f"the judge ended with code {process.returncode}: {' '.join(last)[:500]}"
                log.warning("%s\n%s", self.error, said.decode(errors="replace"))
        except TimeoutError:
            self.error = f"the judge took longer than {self._timeout_s:.0f} s"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
