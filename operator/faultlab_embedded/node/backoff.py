"""When an ended container is started again. Pure."""

from __future__ import annotations

INITIAL_S = 10.0
MAX_S = 300.0
RESET_AFTER_S = 600.0


class BackOff:
    """As kubelet: the first restart at once, then after 10 s, doubling to 5 min; 10 min of running forgets
    it all."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def after_run(self, ran_s: float) -> float:
        """Seconds to wait after a run that took `ran_s`."""
        if ran_s >= RESET_AFTER_S:
            self._next_s = 0.0
        delay = self._next_s
        self._next_s = min(MAX_S, delay * 2 or INITIAL_S)
        return delay
