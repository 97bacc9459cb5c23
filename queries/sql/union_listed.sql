create table listed as
select row_number() over (order by position) - 1 as query_id, term, position
from (select term, position from placed order by position limit $limit) before_the_limit
