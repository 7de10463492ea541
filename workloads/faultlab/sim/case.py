"""One failing run as files: what it is, what happened in words, and the diagram."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from faultlab.raft.rules import Rule

from .diagram import Headline, render
from .options import Options
from .plan import Action
from .run import Outcome, draw, simulate
from .shrink import Shrunk, shrink
from .trace import TraceEvent
from .words import lines

CASE_FILE = "case.json"
TRACE_FILE = "trace.txt"
DIAGRAM_FILE = "diagram.html"


class Case(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A run by everything that it follows from."""

    seed: int
    options: Options
    plan: tuple[Action, ...]
    rule: Rule | None = None
    violation: str | None = None
    """What it broke when it was written down."""
    hash: str = ""
    """Of the run when it was written down."""

    def run(self, trace: list[TraceEvent] | None = None) -> Outcome:
        """Runs it; `trace` takes in all events."""
        return simulate(
            self.seed,
            self.options,
            plan=self.plan,
            break_rule=self.rule,
            trace=None if trace is None else trace.append,
        )


def case_of(seed: int, rule: Rule | None = None) -> Case:
    """The whole run of a seed."""
    options, plan = draw(seed)
    return Case(seed, options, plan, rule)


def read_case(path: Path) -> Case:
    """A case that was written before; raises ValueError that says what is wrong, or OSError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Case)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} is no case of the simulator: {error}") from error


def shrink_case(case: Case, violation: str, max_attempts: int = 150) -> tuple[Case, Shrunk]:
    """A smaller case that breaks the same promise as `violation`; and how that went."""
    promise = promise_of(violation)

    def fails(options: Options, plan: Sequence[Action]) -> bool:
        outcome = simulate(case.seed, options, plan=plan, break_rule=case.rule)
        return outcome.violation is not None and promise_of(outcome.violation) == promise

    shrunk = shrink(case.options, case.plan, fails, max_attempts)
    return msgspec.structs.replace(case, options=shrunk.options, plan=shrunk.plan), shrunk


def promise_of(violation: str) -> str:
    """`election safety` of `election safety: m1 and m2 both lead term 3`."""
    return violation.partition(":")[0]


def write_case(directory: Path, case: Case) -> Outcome:
    """Runs the case once more and writes the three files; raises OSError."""
    events: list[TraceEvent] = []
    outcome = case.run(events)
    case = msgspec.structs.replace(case, violation=outcome.violation, hash=outcome.hash)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / CASE_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(case), indent=2))
    facts = _facts(case, outcome)
    head = [f"{name:<12}{value}" for name, value in facts.items()]
    verdict = outcome.violation or "ok"
    text = "\n".join([*head, f"{'verdict':<12}{verdict}", "", *lines(events), ""])
    (directory / TRACE_FILE).write_text(text)
    headline = Headline(f"Seed {case.seed}: {promise_of(verdict)}", verdict, facts)
    (directory / DIAGRAM_FILE).write_text(render(headline, events))
    return outcome


def _facts(case: Case, outcome: Outcome) -> dict[str, str]:
    options = case.options
    network = options.network
    return {
        "seed": str(case.seed),
        "rule": f"{case.rule} is switched off" if case.rule else "none is switched off",
        "members": f"{options.members}, election timeout {options.election_ns / 1e6:.0f} ms,"
        f" reads {options.reads}, clients {options.clients.count}",
        "network": f"delay {network.delay_ns / 1e6:.2f} ms, loss {network.loss:.1%},"
        f" repeated {network.duplicate:.1%}, overtaken {network.reorder:.1%}",
        "operations": str(outcome.operations),
        "faults": "; ".join(action.describe() for action in case.plan) or "none",
        "hash": outcome.hash,
    }
