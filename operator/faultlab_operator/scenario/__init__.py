"""A scenario from its manifest to its verdict: the phases, what they record, and the judge."""
