"""The summary of a cut: what its shards hold and lost, in counts that add up."""
