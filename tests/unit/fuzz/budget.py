"""How long the fuzzers look: a fixed number of examples in CI, more by hand.

`FAULTLAB_FUZZ=50 pytest tests/unit/fuzz` looks fifty times as long. A failure prints the example; hypothesis
tries it again first at the next run.
"""

import os

from hypothesis import HealthCheck, settings

_FACTOR = float(os.environ.get("FAULTLAB_FUZZ", "1"))


def budget(examples: int) -> settings:
    """For a test that tries so many examples in CI."""
    return settings(
        max_examples=max(1, int(examples * _FACTOR)),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
