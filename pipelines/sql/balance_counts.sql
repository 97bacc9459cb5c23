-- Every query of the list before and after.
select before.query_id, before.query_bucket, before.term, before.num_before,
    case when remaining.num_pairs is null then 0 else remaining.num_pairs end as num_after
from before
left join (
    select query_id, cast(sum(num_pairs) as bigint) as num_pairs
    from counts
    group by query_id
) remaining on before.query_id = remaining.query_id
