"""Choices that need the whole corpus: frequencies, quotas, reference sets."""
