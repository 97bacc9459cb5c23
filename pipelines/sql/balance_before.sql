-- Every query of the list with the pairs that match it; no earlier cap has taken any of them.
select counted.query_id, counted.query_bucket, counted.term, counted.num_before,
    counted.num_before as num_taken, counted.num_before as num_pool
from (
    select terms.query_id, terms.query_bucket, terms.term,
        case when matched.num_pairs is null then 0 else matched.num_pairs end as num_before
    from terms
    left join (
        select query_id, cast(sum(num_pairs) as bigint) as num_pairs
        from counts
        group by query_id
    ) matched on terms.query_id = matched.query_id
) counted
