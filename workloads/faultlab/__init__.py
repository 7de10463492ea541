"""Everything that runs inside a pod, and what judges it."""

__version__ = "0.1.0"
