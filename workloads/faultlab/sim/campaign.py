"""Many seeds on several processes: outcomes as they come, in no particular order."""

import itertools
import multiprocessing
import signal
import traceback
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

import msgspec

from faultlab.raft.rules import Rule

from .run import Outcome, run_seed

_BATCH = 8
"""Seeds that a process is given at once; handing over one at a time costs more than it tells."""


class Tally(msgspec.Struct):
    """What a campaign has come to so far."""

    runs: int = 0
    failed: list[Outcome] = []
    marks: dict[str, int] = {}
    """Seeds that reached each mark."""
    virtual_s: float = 0.0
    operations: int = 0

    def add(self, outcome: Outcome) -> None:
        """Counts one run."""
        self.runs += 1
        self.virtual_s += outcome.virtual_s
        self.operations += outcome.operations
        for mark in outcome.marks:
            self.marks[mark] = self.marks.get(mark, 0) + 1
        if not outcome.ok:
            self.failed.append(outcome)


def run_campaign(seeds: Sequence[int], jobs: int, rule: Rule | None = None) -> Generator[Outcome, None, None]:
    """Runs all `seeds` on `jobs` processes. Close the iterator to end it early; the processes end with it.

    A run that raises is an outcome that failed: the simulator or a member is broken, and the seed shows it.
    """
    if jobs == 1:
        for seed in seeds:
            yield guarded(seed, rule)
        return
    # Not forked: the parent has threads of its own (a progress bar), which a fork would lose half-way.
    context = multiprocessing.get_context("spawn")
    batches = iter([seeds[at : at + _BATCH] for at in range(0, len(seeds), _BATCH)])
    pool = ProcessPoolExecutor(max_workers=jobs, mp_context=context, initializer=_leave_interrupts)
    waiting: set[Future[list[Outcome]]] = set()
    try:
        for batch in itertools.islice(batches, 2 * jobs):
            waiting.add(pool.submit(_run_batch, batch, rule))
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for batch in itertools.islice(batches, len(done)):
                waiting.add(pool.submit(_run_batch, batch, rule))
            for future in done:
                yield from future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal; the parent is the one that ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def guarded(seed: int, rule: Rule | None = None) -> Outcome:
    """One run whose exception, if it raises one, is its violation."""
    try:
        return run_seed(seed, rule)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(
            seed=seed,
            ok=False,
            violation=f"broken simulation: {error!r} at {where.name}, line {where.lineno}",
            hash="",
            marks={},
            virtual_s=0.0,
            steps=0,
            operations=0,
        )


def _run_batch(seeds: Sequence[int], rule: Rule | None) -> list[Outcome]:
    return [guarded(seed, rule) for seed in seeds]
