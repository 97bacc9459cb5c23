select pairs.key, pairs.bucket, pairs.rank, pairs.url,
    case when answers.is_revisit = 1 then originals.archive else answers.archive end as archive,
    case when answers.is_revisit = 1 then originals.record_offset else answers.record_offset end as record_offset
from pairs
left join (
    select bodies.url, bodies.archive, bodies.record_offset, bodies.digest, bodies.is_revisit,
        row_number() over (
            partition by bodies.url order by bodies.is_revisit, bodies.archive, bodies.record_offset
        ) as place
    from bodies
) answers on answers.url = pairs.url and answers.place = 1
left join (
    select bodies.archive, bodies.record_offset, bodies.digest,
        row_number() over (partition by bodies.digest order by bodies.archive, bodies.record_offset) as place
    from bodies
    where bodies.is_revisit = 0 and bodies.digest <> ''
) originals on originals.digest = answers.digest and originals.place = 1
