"""Measures of an image: from its bytes, its header, or its pixels."""
