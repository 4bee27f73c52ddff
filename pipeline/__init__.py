"""Carries a corpus through a recipe; the only folder that knows Ray."""
