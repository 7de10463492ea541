"""What an object of a kind may hold: structural schemas, defaults, CEL rules, OpenAPI."""
