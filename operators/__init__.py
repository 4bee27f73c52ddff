"""Operators measure one thing each: columns in, columns out. They never drop a row, and know nothing of Ray."""
