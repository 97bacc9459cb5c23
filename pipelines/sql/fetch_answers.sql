-- One answer a URL: a body before a revisit before a redirect, then the first by archive and offset.
select url, url_bucket, archive, place, record_offset, target, target_bucket
from (
    select url, url_bucket, archive, place, record_offset, target, target_bucket,
        row_number() over (partition by url order by kind, archive, record_offset) as choice
    from (
        select url, url_bucket, archive, place, record_offset, target, target_bucket,
            case when target = '' then 0 else 2 end as kind
        from bodies
        union all
        select url, url_bucket, archive, place, record_offset, '' as target, 0 as target_bucket, 1 as kind
        from revisited
    ) held
) ranked
where choice = 1
