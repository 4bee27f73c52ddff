"""The live page of `cupel inspect`: loopback only, behind a token, read-only."""
