-- What stands before the first colon of a name, or of the article it leads to.
select distinct split_part(title, ':', 1) as prefix
from (
    select title from names
    union all
    select article from leads where title <> article
)
where contains(title, ':')
order by prefix;
