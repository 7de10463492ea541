"""Objects: where they live, how they change, and who is told (`Registry` is the one entry)."""
