-- The last pair under the cap: the one at its place among the pairs of its cell.
select query_id, query_bucket, rank, key
from (
    select query_id, query_bucket, rank, key, place,
        row_number() over (partition by query_id order by rank, key) as number
    from pairs
) numbered
where number = place
