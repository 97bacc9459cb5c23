-- The matches of the images that are left: only these count against the cap now.
select matches.key, matches.bucket, matches.rank, matches.query_id, matches.query_bucket, matches.position
from matches
join fingerprints on matches.key = fingerprints.key
