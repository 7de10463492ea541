"""The embedded node: a kubelet whose containers are processes in namespaces of their own.

A pod has a network namespace (an address on the world's bridge, no way out), a host name, and /etc/hosts
with the names of all Services. Each container has its own mount and PID namespaces: the machine's file
system read-only, its volumes, private /tmp, /run, /proc and /sys; its program is PID 1. Pods with
`hostNetwork` and `hostPID` live in the world's own namespaces, where the bridge and all containers'
processes are to be seen.

Supported: init containers, the three restart policies with back-off, probes (httpGet, tcpSocket, exec),
preStop exec hooks, volumes (emptyDir, configMap, secret, downwardAPI, projected, hostPath,
persistentVolumeClaim), service account tokens, static pods, logs.

Not applied, though accepted: runAsUser, runAsGroup, fsGroup, capabilities and seccomp profiles (in a user
namespace there is one user), resource limits (no cgroups), affinity and taints (one node), sizes of
volumes. Not there: exec and attach, sidecar init containers, postStart hooks, shareProcessNamespace.

Kept free of imports: the container shim starts an interpreter for each container and passes through here.
"""
