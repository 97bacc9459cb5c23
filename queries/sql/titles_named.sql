-- Names with the article that each leads to. Without a dump every name of the article namespace is an article.
create table named as
select
    names.title,
    coalesce(article, names.title) as article,
    views,
    coalesce(in_dump, not $has_dump) as is_article
from names
left join leads on names.title = leads.title;
