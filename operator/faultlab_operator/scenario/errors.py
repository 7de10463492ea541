"""What can go wrong around a run's record. One tree, so that callers may catch the whole of it."""


class ScenarioError(Exception):
    """Anything in this package that a caller may want to tell a person."""


class RecordError(ScenarioError):
    """A run's directory does not hold what the judge needs: names the file and what was expected."""


class SpecError(ScenarioError):
    """A scenario's spec asks for what cannot be done: names the field and what to write instead."""
