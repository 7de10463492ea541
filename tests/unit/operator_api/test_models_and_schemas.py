"""The models alone: durations, generated files, what a structural schema may contain."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faultlab_operator.api import KINDS, Duration
from faultlab_operator.api.generate import crd, load_crds, main


@pytest.mark.parametrize(
    ("text", "ms"),
    [("250ms", 250), ("10s", 10_000), ("1.5s", 1_500), ("3m", 180_000), ("1h", 3_600_000), ("0s", 0)],
)
def test_duration_is_understood_and_kept_as_written(text: str, ms: float) -> None:
    assert Duration(text).ms == ms
    assert Duration(text) == text


@pytest.mark.parametrize(
    "text", ["", "-1s", "10", "ten seconds", "1d", "1s ", "1.5555s", "1e3s", "٣s", "99999999s"]
)
def test_what_is_no_duration_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write a duration that is not negative, such as 250ms"):
        Duration(text)


def test_crd_files_are_what_the_models_say() -> None:
    assert main(["--check"]) == 0, "run `make generate`"
    assert sorted(made["metadata"]["name"] for made in load_crds()) == sorted(
        f"{kind.plural}.faultlab.dev" for kind in KINDS.values()
    )


def test_check_notices_a_file_that_was_changed_is_missing_or_too_many(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert main(["--check", "--output", folder]) == 1
    assert main(["--output", folder]) == 0
    assert main(["--check", "--output", folder]) == 0
    file = tmp_path / "raftclusters.yaml"
    file.write_text(file.read_text().replace("maximum: 9", "maximum: 8"))
    assert main(["--check", "--output", folder]) == 1
    assert main(["--output", folder]) == 0
    (tmp_path / "other.yaml").write_text("{}")
    assert main(["--check", "--output", folder]) == 1


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


SCHEMAS = [
    pytest.param(crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"], id=name)
    for name, kind in KINDS.items()
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_schema_is_structural_and_everything_in_it_is_bounded(schema: dict[str, Any]) -> None:
    for path, node in nodes(schema, ""):
        assert "type" in node, path
        assert not {"$ref", "$defs", "anyOf", "allOf", "oneOf", "title", "const", "nullable"} & node.keys(), (
            path
        )
        assert "exclusiveMinimum" not in node, path
        if path in (".apiVersion", ".kind", ".metadata"):
            continue
        if node["type"] == "array":
            assert "maxItems" in node, path
        if node["type"] == "string":
            assert "maxLength" in node or "enum" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_rule_has_a_message_on_one_line(schema: dict[str, Any]) -> None:
    for path, node in nodes(schema, ""):
        for rule in node.get("x-kubernetes-validations", []):
            assert rule["message"], path
            assert "\n" not in rule["message"], path


def test_no_key_is_a_boolean_to_yaml() -> None:
    for schema in SCHEMAS:
        for path, node in nodes(schema.values[0], ""):  # type: ignore[arg-type]
            assert not {"y", "n", "yes", "no", "on", "off"} & node.get("properties", {}).keys(), path


def test_cluster_can_be_scaled_in_the_api_and_shows_its_columns() -> None:
    version = crd(KINDS["RaftCluster"])["spec"]["versions"][0]
    assert version["subresources"]["scale"]["specReplicasPath"] == ".spec.replicas"
    shown = [column["name"] for column in version["additionalPrinterColumns"] if not column.get("priority")]
    assert shown == ["Ready", "Leader", "Term", "Members", "Age"]
