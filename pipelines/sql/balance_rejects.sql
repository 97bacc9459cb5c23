select pairs.key, pairs.bucket, 'balance' as stage, 'over_cap' as reason,
    case when 1 = 0 then pairs.key end as detail,
    case when 1 = 0 then pairs.key end as url,
    case when 1 = 0 then pairs.key end as caption
from pairs
left join (select key from winners group by key) winner on pairs.key = winner.key
where winner.key is null
