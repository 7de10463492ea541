"""What is done to a pod, from inside the pod's namespaces. Knows nothing of HTTP or of who wants it."""
