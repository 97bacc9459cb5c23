-- The amount at each of the ranks asked for, the highest amount first: from how many there are of each amount.
select rank, amount
from (select unnest($ranks::bigint[]) as rank) wanted
asof join (
    select amount, sum(count(*)) over (order by amount desc) as through
    from candidates
    where source = $source
    group by amount
) frequency on wanted.rank <= frequency.through
order by rank
