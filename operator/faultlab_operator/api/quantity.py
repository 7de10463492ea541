"""Kubernetes' quantities as numbers."""

from typing import Final

_UNITS: Final = {
    "": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40,
}  # fmt: skip


def quantity(text: str) -> float:
    """The value of a Kubernetes quantity that the CRD's rule let through."""
    digits = text.rstrip("kKMGTim")
    return float(digits) * _UNITS[text[len(digits) :]]
