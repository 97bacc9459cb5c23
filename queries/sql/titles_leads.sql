-- Where each page leads: itself, or the end of a chain of at most ten redirects. A circle, or a longer chain, stays where
-- it stands and is no article.

-- Redirects to which redirects lead: few in a wiki. A chain of n is a redirect and n - 1 of these.
create table middles as
select title, target
from pages
where target is not null and title in (select target from pages where target is not null);

create table ends as
with recursive walk(title, place, steps) as (
    select title, target, 1 from middles
    union all
    select walk.title, middles.target, walk.steps + 1
    from walk
    join middles on walk.place = middles.title
    where walk.steps < 9
)
select title, place
from walk
where place not in (select title from middles);

create table leads as
with led as (
    select
        pages.title,
        case
            when pages.target is null then pages.title
            when middles.title is null then pages.target
            else coalesce(place, pages.title)
        end as article
    from pages
    left join middles on pages.target = middles.title
    left join ends on pages.target = ends.title
)
select title, article, article in (select title from pages where target is null) as in_dump
from led;

drop table pages;
