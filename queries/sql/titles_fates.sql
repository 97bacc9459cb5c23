-- Articles at or above the threshold and below it; names of each other fate.
select
    coalesce(fate, case when views >= $min_views then 'kept' else 'below_threshold' end) as outcome,
    sum(case when fate is null then 1 else num_names end)::bigint
from sums
group by outcome
order by outcome;
