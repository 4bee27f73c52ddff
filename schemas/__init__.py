"""What data looks like at each border; imports nothing else of Cupel."""
