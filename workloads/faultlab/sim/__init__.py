"""Deterministic simulation of a Raft cluster: thousands of disasters a minute, each from one seed."""

from .marks import MARKS
from .options import Options
from .plan import Action
from .run import Outcome, draw, run_seed, simulate
from .trace import Trace, TraceEvent

__all__ = ["MARKS", "Action", "Options", "Outcome", "Trace", "TraceEvent", "draw", "run_seed", "simulate"]
