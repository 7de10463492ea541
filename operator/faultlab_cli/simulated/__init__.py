"""`--world simulation`: a scenario's YAML under virtual time.

The scenario's state machine, the members, the load's clients, the judge and the report are those of the other
worlds; the network, the disks and the clocks are the simulator's (`faultlab.sim`).
"""
