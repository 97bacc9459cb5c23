select fingerprints.key, fingerprints.bucket, 'pack' as stage, 'over_cap' as reason,
    case when 1 = 0 then fingerprints.key end as detail,
    case when 1 = 0 then fingerprints.key end as url,
    case when 1 = 0 then fingerprints.key end as caption
from fingerprints
left join winners on fingerprints.key = winners.key
where winners.key is null
