"""What people said of rows, and how right a cut's rules are by that."""
