"""A small Kubernetes on one machine: API server, controllers and node. Knows Kubernetes, nothing of the lab."""
