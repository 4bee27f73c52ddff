"""Measurements of how an image and its caption fit."""
