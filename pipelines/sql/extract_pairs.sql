-- The first occurrence of each pair, and how many there are. What ties in this order is equal in every column.
select earliest.key, earliest.bucket, earliest.rank, earliest.url, earliest.caption, earliest.page_url,
    earliest.archive, earliest.offset, earliest.attribute, counts.num_occurrences
from (
    select candidates.*,
        row_number() over (
            partition by candidates.key
            order by candidates.archive, candidates.offset, candidates.attribute,
                case when candidates.page_url is null then '' else candidates.page_url end
        ) as place
    from candidates
) earliest
join (
    select candidates.key, cast(sum(candidates.num_occurrences) as bigint) as num_occurrences
    from candidates
    group by key
) counts on earliest.key = counts.key
where earliest.place = 1
