"""Measures of a text: a caption, or one paragraph of a document."""
