"""Quantities (`500m`, `256Mi`, `1e3`): their values, and the one spelling that Kubernetes stores.

Source: apimachinery `api/resource`. Finer than a billionth is rounded up, as there.
"""

from __future__ import annotations

import re
from decimal import ROUND_UP, Decimal
from typing import Any

_BINARY = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4, "Pi": 1024**5, "Ei": 1024**6}
_DECIMAL = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([KMGTPE]i)|([numkMGTPE]?)|[eE]([+-]?\d{1,3}))")
_SMALLEST = Decimal("1e-9")
PATTERN_TEXT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


def parse(text: Any) -> Decimal:
    """The value of a quantity; ValueError where it is none."""
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(PATTERN_TEXT)
    number, binary, decimal, exponent = match.groups()
    if binary:
        value = Decimal(number) * _BINARY[binary]
    elif exponent is not None:
        value = Decimal(number).scaleb(int(exponent))
    else:
        value = Decimal(number) * _DECIMAL[decimal]
    return value.quantize(_SMALLEST, rounding=ROUND_UP) if value % _SMALLEST else value


def canonical(text: Any) -> str:
    """The stored spelling: a whole number with the largest suffix that allows one. ValueError as in
    `parse`."""
    value = parse(text)
    match = _QUANTITY.fullmatch(str(text))
    assert match is not None
    if match.group(4) is not None:
        return _exponential(value)
    if match.group(2) and value == value.to_integral_value() and abs(value) >= 1024:
        whole = int(value)
        for suffix, size in reversed(_BINARY.items()):
            if whole % size == 0:
                return f"{whole // size}{suffix}"
        return str(whole)
    return _with_suffix(value)


def _with_suffix(value: Decimal) -> str:
    if value == 0:
        return "0"
    for suffix, size in reversed(_DECIMAL.items()):
        scaled = value / size
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}{suffix}"
    return str(value)


def _exponential(value: Decimal) -> str:
    """Exponents are multiples of three and never 0."""
    if value == 0:
        return "0"
    for exponent in range(18, -10, -3):
        scaled = value.scaleb(-exponent)
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}e{exponent}" if exponent else str(int(scaled))
    return str(value)
