"""The kinds that are built in: their names, defaults, validation and table columns."""
