-- A pair stays because some query keeps it, so a query that matches anything has pairs left.
select counted.query_id, counted.query_bucket, counted.num_before, remaining.num_after
from (
    select query_id, query_bucket, count(*) as num_before
    from before
    group by query_id, query_bucket
) counted
join (
    select query_id, count(*) as num_after
    from after
    group by query_id
) remaining on counted.query_id = remaining.query_id
