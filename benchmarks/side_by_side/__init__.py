"""What benchmarks/raft.py is made of: three systems, started alike, and the loads and faults they get."""
