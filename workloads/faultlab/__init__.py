"""Everything that runs inside a pod, and what judges it."""

import logging

__version__ = "0.1.0"

# A library says nothing by itself: programs that want its log set up handlers of their own.
logging.getLogger("faultlab").addHandler(logging.NullHandler())
