"""pipelines: moves candidates through ten stages, from web archives to shards."""
