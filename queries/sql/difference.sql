-- Every term of which the lists say something different; $distinct: a column for each value, whether it differs.
create table differing as
select *, greatest($changed) as is_changed
from (
    select coalesce(a.term, b.term) as term, a.query_id as id_a, b.query_id as id_b,
        a.sources as sources_a, b.sources as sources_b,
        coalesce(b.sources, a.sources)[1] as source,
        $distinct
    from list_a a
    full join list_b b on a.term = b.term
) compared
where id_a is distinct from id_b or is_changed
