"""Measurements of interleaved documents: what they are made of, and how their images and texts go together."""
