-- Every term of the union at its first place: 2^40 places for each source, the sources in the paper's order.
create table placed as
select term, min((source::bigint << 40) + place) as position
from admitted
where term <> ''
group by term
