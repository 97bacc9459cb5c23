-- Where a chain from each of these ends, if it does within the redirects that are left to it.
create table ends as
with recursive walk(title, place, steps) as (
    select title, target, 1 from middles
    union all
    select walk.title, middles.target, walk.steps + 1
    from walk
    join middles on walk.place = middles.title
    where walk.steps < $max_redirects - 1
)
select title, place
from walk
where place not in (select title from middles);
