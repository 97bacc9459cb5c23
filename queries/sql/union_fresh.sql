-- The first $share candidates of a source, from its stop on, that would each add a term to the union.
create or replace table fresh as
select term, place
from (
    select term, min(place) as place
    from candidates
    where source = $source and place >= $stop and term <> ''
    group by term
) first
anti join taken using (term)
order by place
limit $share
