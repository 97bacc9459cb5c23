-- A query keeps its $cap pairs of lowest (rank, key).
select key, bucket, query_id, query_bucket
from (
    select key, bucket, query_id, query_bucket,
        row_number() over (partition by query_id order by rank, key) as place
    from matches
) placed
where place <= $cap
