-- Of entries with one print or content the first, each side by itself.
select entry, key, side, place, value, pdq_0, pdq_1, pdq_2, pdq_3
from (
    select entry, key, side, place, value, pdq_0, pdq_1, pdq_2, pdq_3,
        row_number() over (partition by side, value, pdq_0, pdq_1, pdq_2, pdq_3 order by entry) as copy
    from entries
) numbered
where copy = 1
