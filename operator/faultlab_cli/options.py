"""The options that several commands share, each said once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_LAB_NAMESPACE = "faultlab-system"


class World(StrEnum):
    """What `--world` takes."""

    embedded = "embedded"
    kubernetes = "kubernetes"


class RunWorld(StrEnum):
    """What `--world` takes where a scenario is run."""

    embedded = "embedded"
    kubernetes = "kubernetes"
    simulation = "simulation"


Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="The namespace (default: the context's, else faultlab)."),
]
WorldOption = Annotated[
    World | None,
    typer.Option(
        "--world",
        help="The embedded world of this machine (the default), or the cluster of the current kube context.",
    ),
]
RunWorldOption = Annotated[
    RunWorld | None,
    typer.Option(
        "--world",
        help="The embedded world of this machine (the default), the cluster of the current kube context, or "
        "a simulation in virtual time.",
    ),
]
Context = Annotated[
    str | None,
    typer.Option("--context", help="Use this kube context; implies --world kubernetes."),
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        help="Use this file (default: KUBECONFIG, ~/.kube/config); implies --world kubernetes.",
    ),
]
LabNamespace = Annotated[
    str,
    typer.Option("--lab-namespace", envvar="FAULTLAB_SYSTEM_NAMESPACE", help="Where the operator runs."),
]
Out = Annotated[Path | None, typer.Option("--out", help="Where the files go (default: results/NAME-TIME).")]
