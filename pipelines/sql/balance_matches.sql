-- The matches of the pairs that stay: a query also counts those that other queries keep.
select matches.*
from matches
join (select key from winners group by key) winner on matches.key = winner.key
