-- Where each page leads: itself, or the end of a chain of redirects. A circle, or a chain too long, stays where it stands
-- and is no article.
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
