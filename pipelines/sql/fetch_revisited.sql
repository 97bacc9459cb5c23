-- Revisits with the body they mean: the first with their digest, whatever its URL.
select url, url_bucket, digest_bucket, archive, place, record_offset
from (
    select revisits.url, revisits.url_bucket, revisits.digest_bucket,
        firsts.archive, firsts.place, firsts.record_offset,
        row_number() over (
            partition by revisits.url, revisits.digest_bucket order by firsts.archive, firsts.record_offset
        ) as choice
    from revisits
    join (
        select digest, archive, place, record_offset,
            row_number() over (partition by digest order by archive, record_offset) as choice
        from originals
    ) firsts on firsts.digest = revisits.digest and firsts.choice = 1
) found
where choice = 1
