"""Inspect a corpus folder: what stayed, what went and why, and what other bounds would keep. Reads; never measures."""
