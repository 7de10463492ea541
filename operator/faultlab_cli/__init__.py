"""The command `faultlab`. Knows all the other parts; none of them knows it."""
