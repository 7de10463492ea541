"""A key-value store replicated by Raft: the sans-I/O core, its write-ahead log, and the member on top."""
