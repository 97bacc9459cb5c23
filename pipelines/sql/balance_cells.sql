-- The cells of all parts together.
select query_id, query_bucket, cell, cast(sum(num_pairs) as bigint) as num_pairs
from cells
group by query_id, query_bucket, cell
