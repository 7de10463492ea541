"""The node agent and its injectors: what breaks the network, processes, clocks and disks of a pod."""
