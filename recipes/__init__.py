"""Recipes: one YAML file is one complete run."""
