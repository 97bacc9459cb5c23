-- Every query of the list with the pairs that are left of it, and how many balance took of how many.
select pool.query_id, pool.query_bucket, pool.term,
    case when remaining.num_pairs is null then 0 else remaining.num_pairs end as num_before,
    pool.num_after as num_taken, pool.num_before as num_pool
from pool
left join (
    select query_id, cast(sum(num_pairs) as bigint) as num_pairs
    from counts
    group by query_id
) remaining on pool.query_id = remaining.query_id
