-- Views of each article (fate null), and of the names of each fate together.
create table sums as
with judged as (
    select
        article,
        views,
        case
            when contains(title, ':') and split_part(title, ':', 1) in (select prefix from prefixes) then 'namespace'
            when contains(article, ':') and split_part(article, ':', 1) in (select prefix from prefixes) then 'namespace'
            when not is_article then 'not_in_dump'
        end as fate
    from named
)
select
    fate,
    case when fate is null then article end as article,
    count(*) as num_names,
    least(sum(views), 9223372036854775807)::bigint as views
from judged
group by 1, 2;
