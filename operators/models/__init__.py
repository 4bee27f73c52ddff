"""Networks that operators run: where their weights lie, how they are loaded, and the small ones that are shipped."""
