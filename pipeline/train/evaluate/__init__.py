"""What a trained model is worth: tasks as pure functions on vectors, and `cupel evaluate`, which runs them on data."""
