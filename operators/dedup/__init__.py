"""Duplicates among the rows alive: each adds a column that names the row kept in a row's stead."""
