-- Every pair with the body of its URL, or of the URL at the end of its redirects; one without goes to any place.
select sought.key, sought.bucket, sought.rank, sought.url, sought.url_bucket,
    case when trails.url is null then held.archive else trails.archive end as archive,
    case when trails.url is null then held.record_offset else trails.record_offset end as record_offset,
    case when trails.place is not null then trails.place
        when held.place is not null then held.place
        else sought.url_bucket end as place,
    trails.reached as final_url,
    case when trails.url is null then 0 else trails.num_redirects end as num_redirects
from sought
left join (select url, archive, place, record_offset from answers where target = '') held on held.url = sought.url
left join trails on trails.url = sought.url
