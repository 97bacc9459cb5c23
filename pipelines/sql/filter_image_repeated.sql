-- Bodies of more than $max_urls URLs. A URL is stored once, so the places where a body is stored are its URLs.
select original_sha256, body_bucket, num_urls
from (
    select original_sha256, body_bucket, count(*) as num_urls
    from (
        select distinct original_sha256, body_bucket, place, blob_offset
        from sightings
    ) urls
    group by original_sha256, body_bucket
) counted
where num_urls > $max_urls
