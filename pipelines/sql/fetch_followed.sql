-- Each trail one redirect on, or at the body where it ends.
select trails.url, trails.url_bucket,
    case when answers.target <> '' then answers.target else trails.reached end as reached,
    case when answers.target <> '' then answers.target_bucket else trails.reached_bucket end as reached_bucket,
    trails.reached_bucket as part,
    case when answers.target <> '' then trails.num_redirects + 1 else trails.num_redirects end as num_redirects,
    case when answers.target = '' then answers.archive end as archive,
    case when answers.target = '' then answers.place end as place,
    case when answers.target = '' then answers.record_offset end as record_offset
from trails
left join answers on answers.url = trails.reached
