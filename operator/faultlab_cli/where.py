"""Which lab a command means: the embedded world of this machine, or the one in a Kubernetes cluster."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from faultlab_cli.errors import CliError
from faultlab_cli.kube import Kube, connect
from faultlab_cli.options import RunWorld, World

EMBEDDED_ORIGIN = "the embedded world"


def chosen(world: World | None, kubeconfig: Path | None, context: str | None) -> World:
    """The embedded world, unless a cluster is asked for; raises CliError for both at once."""
    options = [f"--{name}" for name, given in (("kubeconfig", kubeconfig), ("context", context)) if given]
    if world is World.embedded and options:
        raise CliError(
            f"--world embedded and {' and '.join(options)} mean different clusters: leave one of them out"
        )
    return world or (World.kubernetes if options else World.embedded)


def is_simulation(
    world: RunWorld | None, seed: int | None, kubeconfig: Path | None, context: str | None
) -> bool:
    """Whether no cluster is meant at all; raises CliError for options that contradict it, or need it."""
    if world is not RunWorld.simulation:
        if seed is not None:
            raise CliError("--seed is of a simulation: add --world simulation, or write spec.seed")
        return False
    options = [f"--{name}" for name, given in (("kubeconfig", kubeconfig), ("context", context)) if given]
    if options:
        raise CliError(f"--world simulation has no cluster: leave {' and '.join(options)} out")
    return True


def cluster(world: RunWorld | None) -> World | None:
    """The same choice without the simulation."""
    return None if world is None else World(world.value)


@contextlib.contextmanager
def held(
    world: World | None, kubeconfig: Path | None, context: str | None, console: Console
) -> Iterator[Kube]:
    """The cluster to run in. The embedded world is started where none runs, and held while it is used."""
    if chosen(world, kubeconfig, context) is World.kubernetes:
        yield connect(kubeconfig, context)
        return
    from faultlab_cli import lab

    with console.status("Starting the embedded world"):
        holding = contextlib.ExitStack()
        info = holding.enter_context(lab.held())
    with holding:
        yield connect(Path(info.kubeconfig), None, origin=EMBEDDED_ORIGIN)


def existing(world: World | None, kubeconfig: Path | None, context: str | None) -> Kube:
    """The cluster to look at; raises CliError where the embedded world is meant and does not run."""
    if chosen(world, kubeconfig, context) is World.kubernetes:
        return connect(kubeconfig, context)
    from faultlab_cli import lab

    info = lab.running()
    if info is None:
        raise CliError(
            "the embedded world is not running; `faultlab up` starts it, "
            "--world kubernetes means the cluster of your current kube context",
            code=1,
        )
    return connect(Path(info.kubeconfig), None, origin=EMBEDDED_ORIGIN)
