"""Judges histories: is there an order of the operations that explains what every client saw?"""

from faultlab.checker.check import MODELS, check
from faultlab.checker.errors import CheckerError, UnknownModelError
from faultlab.checker.result import CheckResult, Verdict

__all__ = ["MODELS", "CheckResult", "CheckerError", "UnknownModelError", "Verdict", "check"]
