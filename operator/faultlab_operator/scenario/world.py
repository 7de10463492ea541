"""Where a scenario runs, as its state machine sees it: what can be observed, and what can be done.

The operator implements `World` on Kubernetes; a simulator can implement it under virtual time. All
actions are safe to repeat: the state machine asks for each again until it observes what it wanted.
"""

from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from faultlab.contract.load import LoadStatus
from faultlab.contract.run import FaultRecord, Verdict


@dataclass(frozen=True)
class SystemSeen:
    """One of the scenario's systems."""

    exists: bool = False
    ready: bool = False
    foreign: str = ""
    """Why the system of this name is not this scenario's; empty when it is, or does not exist."""
    message: str = ""


@dataclass(frozen=True)
class LoadSeen:
    """The scenario's load."""

    exists: bool = False
    foreign: str = ""
    status: LoadStatus | None = None
    failed: str = ""
    """Why it will not go on; empty as long as it may."""


@dataclass(frozen=True)
class FaultSeen:
    """One fault of the timeline, as its resource says."""

    record: FaultRecord
    selected_at: str | None = None
    """When its sides were chosen."""
    over: bool = False
    """It stands nowhere, and will not again."""
    closed: bool = False
    """It is over, and its heal is proven or given up."""
    refused: str = ""
    """Why it was never injected, for good."""
    interrupted: str = ""


@dataclass(frozen=True)
class Observation:
    """Everything at one moment."""

    systems: dict[str, SystemSeen] = field(default_factory=dict)
    load: LoadSeen = LoadSeen()
    faults: dict[str, FaultSeen] = field(default_factory=dict)
    history_collected: bool = False
    history_refused: str = ""
    """Why the history can never be collected; empty while it may."""
    verdict: Verdict | None = None
    judge_error: str = ""
    lost: str = ""
    """What the record of the run lacks (events that were never heard, an operator's lost disk)."""


@dataclass(frozen=True)
class ApplySystem:
    name: str


@dataclass(frozen=True)
class ApplyLoad:
    pass


@dataclass(frozen=True)
class CreateFault:
    """Entry `index` of the timeline becomes the fault `name`."""

    index: int
    name: str


@dataclass(frozen=True)
class HealFault:
    """End it before its time."""

    name: str


@dataclass(frozen=True)
class FinishLoad:
    pass


@dataclass(frozen=True)
class CollectHistory:
    pass


@dataclass(frozen=True)
class Judge:
    pass


@dataclass(frozen=True)
class Cleanup:
    """Remove systems and load; the verdict and what it rests on stay."""


Action: TypeAlias = (
    ApplySystem | ApplyLoad | CreateFault | HealFault | FinishLoad | CollectHistory | Judge | Cleanup
)


class World(Protocol):
    """What hosts a scenario."""

    async def observe(self) -> Observation:
        """What is there now."""

    async def perform(self, action: Action) -> None:
        """Does it, or raises; it is asked for again until it is observed to be done."""
