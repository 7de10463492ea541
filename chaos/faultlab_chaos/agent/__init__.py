"""The node agent: finds pods, keeps the injections that are wanted, opens probes, tells what it can do."""
