select key, bucket, 'dedup' as stage, 'near_duplicate' as reason, survivor as detail,
    case when 1 = 0 then survivor end as url,
    case when 1 = 0 then survivor end as caption
from duplicates
