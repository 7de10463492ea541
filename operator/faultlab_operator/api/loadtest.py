"""LoadTest: clients that load a system and record every operation, in one pod."""

from typing import ClassVar, Literal

from pydantic import Field

from faultlab_operator.api.base import AGE, Column, Model, Resource, Rule, Status, SystemReference, Text
from faultlab_operator.api.duration import Duration, cel_pattern
from faultlab_operator.api.raftcluster import SecretName


class Arrival(Model):
    """When operations start."""

    mode: Literal["closedLoop", "constantRate"] = Field(
        default="closedLoop",
        description="closedLoop: each user sends its next operation when the last was answered. "
        "constantRate: operations start on a schedule that slow replies do not delay, and latency counts "
        "from there.",
    )
    operations_per_second: float | None = Field(
        default=None, ge=1, le=100_000, description="The rate of all users together; for constantRate."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.mode != 'constantRate' || has(self.operationsPerSecond)",
            "constantRate needs a rate: write for example arrival: {mode: constantRate, "
            "operationsPerSecond: 400}",
        ),
        Rule(
            "self.mode != 'closedLoop' || !has(self.operationsPerSecond)",
            "closedLoop has no rate of its own: write mode: constantRate, or leave operationsPerSecond out",
        ),
    )


class Mix(Model):
    """Relative weights of the operations. Each key is a register, a list or a counter."""

    read: int = Field(default=50, ge=0, le=1000)
    write: int = Field(default=50, ge=0, le=1000)
    cas: int = Field(default=0, ge=0, le=1000, description="Compare and set.")
    append: int = Field(default=0, ge=0, le=1000, description="Appends a value to a list.")
    incr: int = Field(default=0, ge=0, le=1000, description="Adds one to a counter.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.read + self.write + self.cas + self.append + self.incr > 0",
            "a mix of nothing is no load: write for example mix: {read: 50, write: 35, cas: 15}",
        ),
    )


class Keys(Model):
    """Which keys are used, and how often each."""

    count: int = Field(default=50, ge=1, le=100_000)
    distribution: Literal["uniform", "zipfian"] = "uniform"
    exponent: float = Field(
        default=0.99, ge=0.01, le=5, description="Of zipfian: the higher, the more skewed."
    )


class LoginSecret(Model):
    """A user and its password. The load's keys begin anyhow, so the user needs all of them."""

    secret_name: SecretName = Field(
        description="A Secret in this namespace with the keys `username` and `password`, as one of the type "
        "kubernetes.io/basic-auth has them."
    )


class LoadTestSpec(Model):
    """What load is wanted."""

    system: SystemReference
    users: int = Field(
        default=20,
        ge=1,
        le=2000,
        description="Concurrent clients. User i is pinned to member i modulo their number, so that every "
        "side "
        "of a partition has clients.",
    )
    workers: int = Field(default=1, ge=1, le=16, description="Processes that share the users and the rate.")
    arrival: Arrival = Field(default_factory=Arrival)
    mix: Mix = Field(default_factory=Mix)
    keys: Keys = Field(default_factory=Keys)
    operation_timeout: Duration = Field(
        default=Duration("1s"),
        description="How long an answer is waited for, each time that an operation is sent.",
    )
    retries: bool = Field(
        default=True,
        description="Send a write whose outcome is unknown again, at other members too, for up to three "
        "seconds. Otherwise its outcome counts as unknown at once.",
    )
    sessions: bool = Field(
        default=True,
        description="Send writes within a session and under a number, so that one sent again is applied "
        "once. Without sessions retries apply some writes twice, which the checks of a Scenario find.",
    )
    client_auth: LoginSecret | None = Field(
        default=None, description="Whom the clients log in as, where the system asks for it."
    )
    record: bool = Field(default=True, description="Keep every operation in the history that is checked.")
    seed: int | None = Field(
        default=None, ge=0, le=2**53 - 1, description="Seeds keys, values and the order of operations."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.workers <= self.users",
            "a worker without a user does nothing: write workers no greater than users",
        ),
        Rule(
            f"!self.operationTimeout.matches('{cel_pattern()}') || "
            "(duration(self.operationTimeout) >= duration('10ms') && "
            "duration(self.operationTimeout) <= duration('10s'))",
            "operationTimeout must be at least 10ms and at most 10s: write for example operationTimeout: 1s",
        ),
    )


class LoadTestStatus(Status):
    """What the load pod reports."""

    phase: Literal["Waiting", "Starting", "Running", "Finishing", "Finished", "Failed"] | None = Field(
        default=None, description="Waiting: the system is not Ready yet."
    )
    operations: int | None = Field(default=None, ge=0, description="Completed: ok, fail and info together.")
    ok: int | None = Field(default=None, ge=0)
    fail: int | None = Field(default=None, ge=0, description="Certainly did not happen.")
    info: int | None = Field(default=None, ge=0, description="Nobody knows whether they happened.")
    missed: int | None = Field(
        default=None, ge=0, description="Scheduled operations that no user was free to start in time."
    )
    operations_per_second: float | None = Field(default=None, ge=0, description="In the last second.")
    p50_ms: float | None = Field(default=None, ge=0)
    p99_ms: float | None = Field(default=None, ge=0)
    url: Text | None = Field(default=None, description="Locust's own page, where browsers reach it.")
    pod: str | None = Field(default=None, max_length=63)


class LoadTest(Resource):
    """Clients that load a system and record every operation."""

    kind_name: ClassVar[str] = "LoadTest"
    plural: ClassVar[str] = "loadtests"
    short_names: ClassVar[tuple[str, ...]] = ("load", "loads")
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Phase", ".status.phase"),
        Column("Ops", ".status.operations", "integer", "Operations completed."),
        Column("Rate", ".status.operationsPerSecond", "number", "Operations per second just now."),
        Column("URL", ".status.url", description="Locust's own page."),
        Column("System", ".spec.system.name", wide=True),
        AGE,
    )
    root_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "size(self.metadata.name) <= 52",
            "metadata.name is too long for the pod's name to be derived from it: write at most 52 characters",
        ),
    )

    spec: LoadTestSpec
    status: LoadTestStatus = Field(default_factory=LoadTestStatus)
