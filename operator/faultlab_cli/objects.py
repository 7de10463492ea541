"""`faultlab get`, `apply`, `describe`, `logs`, `delete`: enough of kubectl for those who have none."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console

from faultlab_cli.errors import CliError
from faultlab_cli.kube import TABLE, Document, Kube, Resource

OUTPUTS = ("table", "wide", "yaml", "json", "name")


def get(
    kube: Kube,
    console: Console,
    kind: str,
    name: str | None,
    *,
    namespace: str | None,
    output: str,
    selector: str | None = None,
) -> None:
    """Prints one object or all of a kind (those that a label selector picks), in the columns that the
    server gives. Without a namespace those of all, each with its own."""
    if output not in OUTPUTS:
        raise CliError(f"unknown output {output!r}; use one of {', '.join(OUTPUTS)}")
    resource = kube.resource(kind)
    path = resource.path(namespace, name)
    params = {"labelSelector": selector} if selector and not name else {}
    if output in ("table", "wide"):
        table = kube.get(path, params=params, headers={"Accept": TABLE})
        everywhere = namespace is None and resource.namespaced
        _print_table(console, table, wide=output == "wide", namespaces=everywhere)
        return
    document = kube.get(path, params=params)
    if output == "name":
        for item in document.get("items", [document]):
            console.print(f"{resource.plural}/{item['metadata']['name']}")
    elif output == "json":
        console.print_json(data=document)
    else:
        sys.stdout.write(to_yaml(document))


def apply(kube: Kube, console: Console, path: str, *, namespace: str) -> None:
    """Applies every document of a file, of each file in a folder, or of standard input (`-`)."""
    count = 0
    for document in read_manifests(path):
        _, outcome = kube.apply(document, namespace)
        console.print(f"{document['kind'].lower()}/{document['metadata']['name']} {outcome}")
        count += 1
    if not count:
        raise CliError(f"{path}: no manifest found")


def delete(kube: Kube, console: Console, kind: str, name: str, *, namespace: str, wait_s: float) -> None:
    """Deletes one object, and waits until it is gone."""
    resource = kube.resource(kind)
    path = resource.path(namespace, name)
    found = kube.find(path)
    if found is None or not kube.delete(path, wait_s=wait_s):
        raise CliError(f"there is no {resource.kind} {name} in namespace {namespace}", code=1)
    held = kube.holds(path, found["metadata"].get("uid"))
    console.print(f"{resource.plural}/{name} {'is being deleted' if held else 'deleted'}")


def describe(kube: Kube, console: Console, kind: str, name: str, *, namespace: str) -> None:
    """Prints the object without its noise, its conditions as a table, and its events."""
    resource = kube.resource(kind)
    document = kube.get(resource.path(namespace, name))
    document["metadata"].pop("managedFields", None)
    conditions = document.get("status", {}).pop("conditions", [])
    sys.stdout.write(to_yaml(document))
    if conditions:
        console.print("\nConditions:")
        fields = ("type", "status", "reason", "lastTransitionTime", "message")
        rows = [[_cell(condition.get(field)) for field in fields] for condition in conditions]
        print_columns(console, ["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"], rows)
    _print_events(kube, console, resource, document, namespace)


def logs(
    kube: Kube,
    pod: str,
    *,
    namespace: str,
    container: str | None,
    follow: bool,
    tail: int | None,
    previous: bool = False,
) -> None:
    """Copies a container's log (with `previous` that of the run before) to standard output, line by line
    as it grows with `follow`."""
    params: dict[str, Any] = {"follow": str(follow).lower(), "previous": str(previous).lower()}
    if container:
        params["container"] = container
    if tail is not None:
        params["tailLines"] = tail
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
    timeout = httpx.Timeout(10.0, read=None if follow else 10.0)
    with kube.stream(path, params=params, timeout=timeout) as response:
        for chunk in response.iter_text():
            sys.stdout.write(chunk)
            sys.stdout.flush()


def read_manifests(path: str) -> Iterator[Document]:
    """Every document of a file, a folder's *.yaml and *.yml in order, or standard input."""
    if path == "-":
        yield from _documents("standard input", sys.stdin.read())
        return
    source = Path(path)
    files = (
        sorted(f for f in source.iterdir() if f.suffix in (".yaml", ".yml")) if source.is_dir() else [source]
    )
    for file in files:
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise CliError(f"{file}: {error}") from error
        yield from _documents(str(file), text)


def to_yaml(document: Any) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _documents(name: str, text: str) -> Iterator[Document]:
    try:
        for document in yaml.safe_load_all(text):
            if document is None:
                continue
            if not isinstance(document, dict):
                raise CliError(f"{name}: expected a manifest, found {type(document).__name__}")
            yield from document.get("items", []) if document.get("kind") == "List" else [document]
    except yaml.YAMLError as error:
        raise CliError(f"{name} is not YAML: {error}") from error


def _print_table(console: Console, table: Document, *, wide: bool, namespaces: bool = False) -> None:
    columns = table.get("columnDefinitions")
    if columns is None:
        raise CliError("the server answers without a Table; use -o yaml")
    if not table.get("rows"):
        console.print("No resources found.")
        return
    shown = [i for i, column in enumerate(columns) if wide or not column.get("priority")]
    rows = [[_cell(row["cells"][index]) for index in shown] for row in table["rows"]]
    header = [columns[index]["name"].upper() for index in shown]
    if namespaces:
        header = ["NAMESPACE", *header]
        places = [row["object"]["metadata"].get("namespace", "") for row in table["rows"]]
        rows = [[place, *row] for place, row in zip(places, rows, strict=True)]
    print_columns(console, header, rows)


def print_columns(console: Console, header: list[str], rows: list[list[str]]) -> None:
    """Never folded: a URL or a name that is cut into two lines cannot be copied."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        text = "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        console.print(text, soft_wrap=True, highlight=False, markup=False)


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _print_events(
    kube: Kube, console: Console, resource: Resource, document: Document, namespace: str
) -> None:
    selector = f"involvedObject.name={document['metadata']['name']},involvedObject.kind={resource.kind}"
    events = kube.get(f"/api/v1/namespaces/{namespace}/events", params={"fieldSelector": selector})["items"]
    if not events:
        return
    console.print("\nEvents:")
    rows = [
        [_when(event), *(_cell(event.get(field)) for field in ("type", "reason", "message"))]
        for event in sorted(events, key=_when)[-20:]
    ]
    print_columns(console, ["LAST SEEN", "TYPE", "REASON", "MESSAGE"], rows)


def _when(event: Document) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")
