"""Faults: what a fault resource asks for, made to stand on the nodes' agents, proven, and healed."""

from faultlab_operator.faults.reconciler import PartitionReconciler

__all__ = ["PartitionReconciler"]
