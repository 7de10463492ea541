"""A run whose disk fills up under it, in a mount namespace of its own: `full_disk.py DIR MOMENT`.

DIR is a small tmpfs. Prints what the run ended with as JSON.
"""

import asyncio
import contextlib
import json
import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]


def fill(directory: Path) -> None:
    """Takes all of the disk."""
    with (directory / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(b"x" * 4096)


async def main(directory: Path, moment: str) -> None:
    from unit.scenario import test_scenario_reconciler as trial

    lab = trial.Lab(directory)
    if moment == "start":
        fill(directory)
    key = await lab.scenario()
    reconciler = trial.ScenarioReconciler(lab.services, lab.store)
    if moment == "start":
        for _ in range(3):
            assert await reconciler.reconcile(key) is not None
        (directory / "ballast").unlink()  # somebody made room
    else:
        await trial.run(lab, key, reconciler, until=moment)
        fill(directory)
    before = lab.status(key)
    status = await trial.run(lab, key, reconciler)
    await reconciler.close()
    print(json.dumps({"before": before, "after": status}))


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
