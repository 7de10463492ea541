"""A small Kubernetes on one machine: API server, controllers, node. Knows nothing of the lab."""
