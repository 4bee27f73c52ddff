"""Train n-gram models: text in, ARPA out; counts in shards on Ray, so that memory does not grow with the corpus."""
