"""Tables: what `kubectl get` shows (meta.k8s.io/v1 Table)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faultlab_embedded.kinds.columns import BUILTIN_COLUMNS, NAME, Column, age_column, custom_column
from faultlab_embedded.kinds.podcolumns import row_conditions
from faultlab_embedded.store.catalog import Resource
from faultlab_embedded.store.strategy import Object

Columns = Sequence[Column]


def columns_of(resource: Resource, version: str) -> Columns:
    """A resource's columns: built in, from its CRD, or name and age."""
    if resource.custom:
        own = [custom_column(definition) for definition in resource.columns.get(version, ())]
        return (NAME, *(own or [age_column("date")]))
    return BUILTIN_COLUMNS.get(resource.key, (NAME, age_column()))


def table(
    columns: Columns,
    objects: Sequence[Object],
    included: Sequence[Object | None],
    meta: Object,
    *,
    head: bool,
) -> Object:
    """A Table of objects. `included` are what the rows carry as `object`; without `head` no column
    definitions (in a watch only the first event has them)."""
    rows: list[Object] = []
    for obj, inside in zip(objects, included, strict=True):
        row: Object = {"cells": [_cell(column, obj) for column in columns]}
        if conditions := row_conditions(obj):
            row["conditions"] = conditions
        rows.append({**row, "object": inside})
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": [column.definition() for column in columns] if head else None,
        "rows": rows,
    }


def _cell(column: Column, obj: Object) -> Any:
    # A column is only a view: an object that does not look as expected must not fail the list it is in.
    try:
        return column.value(obj)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return "<unknown>"
