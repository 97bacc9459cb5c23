-- The pairs that are left, with their queries: only these count against the cap now.
select pairs.key, pairs.bucket, pairs.rank, pairs.query_ids
from pairs
join fingerprints on pairs.key = fingerprints.key
