"""Grudges as pure functions, and the agent's wire types. Imports nothing else of this project."""
