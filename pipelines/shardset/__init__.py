"""Work on shards that are there: verify, index, remove, merge, split, sample, export and show."""
