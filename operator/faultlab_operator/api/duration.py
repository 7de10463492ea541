"""Durations as manifests write them: `250ms`, `10s`, `1.5s`, `3m`, `1h`."""

import re
from typing import Any, Final, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

PATTERN: Final = r"^[0-9]{1,7}(\.[0-9]{1,3})?(ms|s|m|h)$"
ADVICE: Final = "write a duration that is not negative, such as 250ms, 10s, 1.5s or 3m"

_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_match = re.compile(PATTERN).match


class Duration(str):
    """A duration as it was written; `ms` is its value in milliseconds.

    Raises ValueError, with what to write instead, for anything that the CRDs would refuse.
    """

    __slots__ = ("ms",)

    ms: float

    def __new__(cls, text: str) -> Self:
        found = _match(text)
        if found is None:
            raise ValueError(f"{text!r} is not a duration: {ADVICE}")
        unit = found.group(2)
        self = super().__new__(cls, text)
        self.ms = float(text[: -len(unit)]) * _UNIT_MS[unit]
        return self

    @property
    def seconds(self) -> float:
        return self.ms / 1000

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: type[Any], _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(max_length=16))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            "type": "string",
            "maxLength": 16,
            "x-kubernetes-validations": [{"rule": f"self.matches('{cel_pattern()}')", "message": ADVICE}],
        }


def cel_pattern() -> str:
    """PATTERN inside a CEL string literal."""
    return PATTERN.replace("\\", "\\\\")
