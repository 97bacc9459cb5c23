-- The differences one by one, in the order of the first list, then what is only in the second.
create view changes as
select term, change, id_a, id_b, sources_a, sources_b, source
from (
    select *, unnest(case
        when id_a is null then ['added']
        when id_b is null then ['removed']
        else (case when id_a <> id_b then ['moved'] else [] end) || (case when is_changed then ['changed'] else [] end)
    end) as change
    from differing
) one_by_one
