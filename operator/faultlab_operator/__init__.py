"""The operator: runs the lab's systems, loads, faults and scenarios as custom resources."""
