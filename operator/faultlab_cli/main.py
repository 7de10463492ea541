"""The command `faultlab`: arguments in, the other modules' work, exit codes out."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from faultlab import __version__
from faultlab_cli import sim, wal
from faultlab_cli.errors import CliError
from faultlab_cli.options import (
    DEFAULT_LAB_NAMESPACE,
    Context,
    Kubeconfig,
    LabNamespace,
    Namespace,
    Out,
    RunWorldOption,
    WorldOption,
)

app = typer.Typer(
    name="faultlab",
    help="A chaos lab for distributed systems on Kubernetes: apply a manifest, watch, read the verdict.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(sim.app, name="sim")
app.add_typer(wal.app, name="wal")
console = Console()
errors = Console(stderr=True)

INTERRUPTED = 130


@app.command()
def run(
    scenario: Annotated[Path, typer.Argument(help="A file with one Scenario.")],
    namespace: Namespace = None,
    out: Out = None,
    world: RunWorldOption = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Of a simulation (default: the scenario's own, else 1)."),
    ] = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    lab_namespace: LabNamespace = DEFAULT_LAB_NAMESPACE,
) -> None:
    """Run a scenario, show it live, and exit with its verdict: 0 Pass, 1 Fail, 2 Inconclusive."""
    from faultlab_cli import where
    from faultlab_cli.operator_pod import OperatorPod
    from faultlab_cli.run import load_scenario, namespace_for, run_scenario

    document = load_scenario(scenario)
    if where.is_simulation(world, seed, kubeconfig, context):
        from faultlab_cli.simulated.run import simulate_scenario

        raise typer.Exit(
            simulate_scenario(document, namespace=namespace, out=out, seed=seed, console=console)
        )
    with where.held(where.cluster(world), kubeconfig, context, console) as kube:
        place = namespace_for(document, namespace, kube.namespace)
        operator = OperatorPod(kube, lab_namespace)
        code = run_scenario(kube, document, namespace=place, out=out, console=console, operator=operator)
    raise typer.Exit(code)


@app.command()
def report(
    name: Annotated[
        str | None, typer.Argument(help="A scenario that ran. Without one: the list of all runs.")
    ] = None,
    namespace: Namespace = None,
    uid: Annotated[
        str | None,
        typer.Option("--run", help="Its uid, or the beginning (default: the last)."),
    ] = None,
    out: Out = None,
    open_page: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the report (default: where there is a browser)."),
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with the verdict's code, as `run` does, not with 0.")
    ] = False,
    world: WorldOption = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    lab_namespace: LabNamespace = DEFAULT_LAB_NAMESPACE,
) -> None:
    """Fetch and open the report of a run that is over, also after its Scenario was deleted."""
    from faultlab_cli import reports
    from faultlab_cli.operator_pod import OperatorPod
    from faultlab_cli.where import existing

    kube = existing(world, kubeconfig, context)
    operator = OperatorPod(kube, lab_namespace)
    operator.await_ready(lambda text: console.print(Text(text, style="yellow")))
    if name is None:
        reports.list_runs(operator, console, namespace)
        return
    place = namespace or kube.namespace
    code = reports.fetch(operator, console, name, namespace=place, uid=uid, out=out, open_page=open_page)
    if exit_code:
        raise typer.Exit(code)


@app.command()
def up() -> None:
    """Start the embedded world (an API server and a node on this machine) and leave it running."""
    from faultlab_cli.lab import OPERATOR_PORT, operator_page, start

    info = start(persist=True)
    console.print("The embedded world is up.")
    console.print(f"  page     {operator_page(info.pages_url, OPERATOR_PORT)}/", soft_wrap=True)
    console.print(f"  kubectl  export KUBECONFIG={info.kubeconfig}", soft_wrap=True)
    console.print("  next     faultlab run chaos/scenarios/raft-leader-partition.yaml")


@app.command()
def down(
    purge: Annotated[
        bool, typer.Option("--purge", help="Also delete its state: objects, volumes, logs.")
    ] = False,
) -> None:
    """Stop the embedded world and everything in it."""
    from faultlab_cli.lab import stop

    console.print(
        "The embedded world is down." if stop(purge=purge) else "The embedded world was not running."
    )


@app.command()
def status() -> None:
    """Say whether the embedded world runs, and where. Exit code 1 where it does not."""
    from faultlab_cli.lab import OPERATOR_PORT, operator_page, running

    info = running()
    if info is None:
        console.print("The embedded world is not running; `faultlab up` starts it.")
        raise typer.Exit(1)
    console.print(f"The embedded world has been up since {info.started_at} (process {info.pid}).")
    console.print(f"  page     {operator_page(info.pages_url, OPERATOR_PORT)}/", soft_wrap=True)
    console.print(f"  API      {info.api_url}", soft_wrap=True)
    console.print(f"  kubectl  export KUBECONFIG={info.kubeconfig}", soft_wrap=True)


@app.command()
def get(
    kind: Annotated[str, typer.Argument(help="A resource: scenarios, raft, pods, events, ...")],
    name: Annotated[str | None, typer.Argument(help="One object of it.")] = None,
    namespace: Namespace = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A")] = False,
    selector: Annotated[
        str | None, typer.Option("--selector", "-l", help="Only objects with these labels: app=x,tier!=y.")
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="table, wide, yaml, json or name.")] = "table",
    world: WorldOption = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show objects."""
    from faultlab_cli import objects
    from faultlab_cli.where import existing

    kube = existing(world, kubeconfig, context)
    place = None if all_namespaces else namespace or kube.namespace
    objects.get(kube, console, kind, name, namespace=place, output=output, selector=selector)


@app.command()
def apply(
    filename: Annotated[
        str, typer.Option("--filename", "-f", help="A file, a folder, or - for standard input.")
    ],
    namespace: Namespace = None,
    world: WorldOption = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Create or change objects from manifests."""
    from faultlab_cli import objects
    from faultlab_cli.where import existing

    kube = existing(world, kubeconfig, context)
    objects.apply(kube, console, filename, namespace=namespace or kube.namespace)


@app.command()
def delete(
    kind: Annotated[str, typer.Argument(help="A resource: scenario, raft, pod, ...")],
    name: Annotated[str, typer.Argument()],
    namespace: Namespace = None,
    wait: Annotated[float, typer.Option("--wait", help="Seconds to wait until it is gone.")] = 30.0,
    world: WorldOption = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Delete an object."""
    from faultlab_cli import objects
    from faultlab_cli.where import existing

    kube = existing(world, kubeconfig, context)
    objects.delete(kube, console, kind, name, namespace=namespace or kube.namespace, wait_s=wait)


@app.command()
def describe(
    kind: Annotated[str, typer.Argument(help="A resource: scenario, raft, pod, ...")],
    name: Annotated[str, typer.Argument()],
    namespace: Namespace = None,
    world: WorldOption = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show one object with its conditions and events."""
    from faultlab_cli import objects
    from faultlab_cli.where import existing

    kube = existing(world, kubeconfig, context)
    objects.describe(kube, console, kind, name, namespace=namespace or kube.namespace)


@app.command()
def logs(
    pod: Annotated[str, typer.Argument()],
    namespace: Namespace = None,
    container: Annotated[str | None, typer.Option("--container", "-c")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f")] = False,
    tail: Annotated[int | None, typer.Option("--tail", help="Only the last lines.")] = None,
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Of the run before the last restart.")
    ] = False,
    world: WorldOption = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Print a pod's log."""
    from faultlab_cli import objects
    from faultlab_cli.where import existing

    kube = existing(world, kubeconfig, context)
    objects.logs(
        kube,
        pod,
        namespace=namespace or kube.namespace,
        container=container,
        follow=follow,
        tail=tail,
        previous=previous,
    )


@app.command()
def check(
    history: Annotated[Path, typer.Argument(help="A history: one JSON object a line.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="mixed, register, cas-register, append, kv, mutex, ...")
    ],
    time_limit: Annotated[float, typer.Option("--time-limit", help="Seconds; beyond them: unknown.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="The result as one JSON object.")] = False,
) -> None:
    """Judge a history: exit code 0 valid, 1 invalid, 2 unknown."""
    from faultlab.checker.cli import run as run_check

    raise typer.Exit(run_check(history, model, time_limit, as_json, sys.stdout))


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
) -> None:
    """Say what this machine can do, what each thing is for, and how to enable what is missing."""
    from faultlab_cli.doctor import run_doctor

    raise typer.Exit(run_doctor(console, as_json))


@app.command()
def version() -> None:
    """Print the version."""
    console.print(f"faultlab {__version__}")


def _terminate(signum: int, _frame: object) -> None:
    """SIGTERM ends a run as Ctrl-C does: healed and cleaned up."""
    del signum
    raise KeyboardInterrupt


def main() -> None:
    """Entry point: every expected error is one line on standard error and an exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app(standalone_mode=True)
    except CliError as error:
        # Not as markup: Kubernetes puts several causes into square brackets.
        errors.print(Text("faultlab: ", style="red").append(str(error), style="default"), soft_wrap=True)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(0)
    except Exception:
        # Python's own exit code 1 would read as the verdict Fail.
        errors.print_exception()
        sys.exit(2)
