"""Other bounds than a cut's own: what they would keep, decided in memory."""
