"""The operator's runtime: what every reconciler is given, and what decides when it runs.

kopf's watches fill a `Cache`; each change wakes keys in a `WorkQueue`; one background task runs the
kinds' reconcilers. Nothing here writes to an object, so no finalizer and no annotation of kopf's
ever appears on one.
"""

from faultlab_operator.core.cache import Cache
from faultlab_operator.core.clock import Clock, SystemClock, rfc3339
from faultlab_operator.core.keys import Key
from faultlab_operator.core.queue import Reconciler, WorkQueue
from faultlab_operator.core.services import Services
from faultlab_operator.core.settings import Settings

__all__ = [
    "Cache",
    "Clock",
    "Key",
    "Reconciler",
    "Services",
    "Settings",
    "SystemClock",
    "WorkQueue",
    "rfc3339",
]
