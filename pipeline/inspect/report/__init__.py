"""Pages that stand alone: a cut's report, and the comparison of two cuts."""
