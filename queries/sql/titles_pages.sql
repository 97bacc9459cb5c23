-- Pages of the article namespace; target: where a redirect leads, null for an article. What dumps overlap in counts
-- once; where they differ, a page with a text of its own is an article.
create table pages as
select title, case when count(*) = count(target) then min(split_part(target, '#', 1)) end as target
from page_files
group by title;
