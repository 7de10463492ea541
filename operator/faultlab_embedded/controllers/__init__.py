"""The controllers of the embedded world: level-triggered, each with a queue of keys."""
