"""The TCP ports of every member pod and every load pod."""

from typing import Final

CLIENT_PORT: Final = 7000
"""RESP2/RESP3, for clients."""

PEER_PORT: Final = 7001
"""Member to member."""

ADMIN_PORT: Final = 7002
"""HTTP: /healthz, /readyz, /status, /events, /metrics. No partition cuts it off from the lab."""

LOCUST_PORT: Final = 8089
"""The load pod's own web page."""
