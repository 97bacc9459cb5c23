-- In each cluster one image survives: most pixels, then lowest rank, then lowest key. These are the others.
select loser.key, loser.bucket, loser.cluster_bucket, survivor.key as survivor
from (
    select key, bucket, cluster, cluster_bucket,
        row_number() over (partition by cluster order by num_pixels desc, rank, key) as place
    from clusters
) loser
join (
    select key, cluster, row_number() over (partition by cluster order by num_pixels desc, rank, key) as place
    from clusters
) survivor on loser.cluster = survivor.cluster
where survivor.place = 1 and loser.place > 1
