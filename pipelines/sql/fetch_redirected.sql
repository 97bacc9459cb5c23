-- URLs that are sought and answer with a redirect.
select asked.url, asked.url_bucket, answers.target as reached, answers.target_bucket as reached_bucket,
    asked.url_bucket as part, 1 as num_redirects,
    case when answers.target = '' then answers.archive end as archive,
    case when answers.target = '' then answers.place end as place,
    case when answers.target = '' then answers.record_offset end as record_offset
from (select url, url_bucket from sought group by url, url_bucket) asked
join answers on answers.url = asked.url
where answers.target <> ''
