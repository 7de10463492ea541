"""What members and load generators promise to the outside: ports, configuration, status, events.

Imports nothing else of this project, so that the operator, the command line and the simulator may
all import it without pulling in a protocol or an event loop.
"""
