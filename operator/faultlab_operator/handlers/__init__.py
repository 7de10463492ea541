"""Thin handlers: watches into the cache, and the reconcilers of RaftCluster and LoadTest."""
