"""The CRDs, made from the models: `python -m faultlab_operator.api.generate [--check] [--output FOLDER]...`.

Writes one file a kind into the package's `crds/`, or into each FOLDER (the chart carries a copy, because
Helm packs only what is in its directory). With `--check` writes nothing and exits 1 when a file is missing,
superfluous or not what the models say.
"""

import argparse
import sys
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml

from faultlab_operator.api import GROUP, KINDS, VERSION
from faultlab_operator.api.base import CATEGORY, Column, Model, Resource
from faultlab_operator.api.structural import structural, validations

HEADER: Final = "# Generated from faultlab_operator.api by `make generate`; change the models instead.\n"


def crd(kind: type[Resource]) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    singular = kind.kind_name.lower()
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root_schema(kind)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
    }
    if kind.scale is not None:
        version["subresources"]["scale"] = dict(kind.scale)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/part-of": "faultlab"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind_name,
                "listKind": f"{kind.kind_name}List",
                "plural": kind.plural,
                "singular": singular,
                "shortNames": list(kind.short_names),
                "categories": [CATEGORY],
            },
            "versions": [version],
        },
    }


def render() -> dict[str, str]:
    """File name -> content, for every kind."""
    return {
        f"{kind.plural}.yaml": HEADER + yaml.dump(crd(kind), Dumper=_Plain, sort_keys=False, width=100)
        for kind in KINDS.values()
    }


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice: anchors are hard to read, and some tools do not know them."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def load_crds() -> list[dict[str, Any]]:
    """The generated CRDs, as the package carries them."""
    folder = resources.files("faultlab_operator.api") / "crds"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=str)
    return [yaml.safe_load(entry.read_text(encoding="utf-8")) for entry in files]


def _root_schema(kind: type[Resource]) -> dict[str, Any]:
    spec_field = kind.model_fields["spec"]
    spec_model = _model(spec_field.annotation)
    spec = structural(spec_model)
    required = ["spec"] if spec_field.is_required() else []
    if not spec_field.is_required():
        spec["default"] = spec_model().wire()
    schema: dict[str, Any] = {
        "description": (kind.__doc__ or "").strip(),
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": structural(_model(kind.model_fields["status"].annotation)),
        },
    }
    if required:
        schema["required"] = required
    if kind.root_rules:
        schema["x-kubernetes-validations"] = validations(kind.root_rules)
    return schema


def _model(annotation: Any) -> type[Model]:
    if not (isinstance(annotation, type) and issubclass(annotation, Model)):
        raise TypeError(f"{annotation} is not a model of the API")
    return annotation


def _column(column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        entry["description"] = column.description
    if column.wide:
        entry["priority"] = 1
    return entry


def main(argv: list[str] | None = None) -> int:
    """Writes or checks the files; returns the exit code."""
    parser = argparse.ArgumentParser(description="Generate the CRDs from the models.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if not up to date")
    parser.add_argument(
        "--output",
        type=Path,
        action="append",
        metavar="FOLDER",
        help="where to write; repeatable (default: the package's crds/)",
    )
    options = parser.parse_args(argv)
    folders: list[Path] = options.output or [Path(__file__).parent / "crds"]
    wanted = render()
    if options.check:
        stale = [path for folder in folders for path in _stale(folder, wanted)]
        for path in stale:
            print(f"{path} is not what the models say: run `make generate`", file=sys.stderr)
        return 1 if stale else 0
    for folder in folders:
        _write(folder, wanted)
    return 0


def _stale(folder: Path, wanted: dict[str, str]) -> list[Path]:
    present = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yaml")}
    names = wanted.keys() | present.keys()
    return [folder / name for name in sorted(names) if wanted.get(name) != present.get(name)]


def _write(folder: Path, wanted: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.yaml"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
