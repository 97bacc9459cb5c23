-- The other entries, each with the first of the same print or content.
select entries.entry, entries.place, prints.entry as first, entries.key, prints.key as first_key
from entries
join prints on entries.side = prints.side and entries.value = prints.value and entries.pdq_0 = prints.pdq_0
    and entries.pdq_1 = prints.pdq_1 and entries.pdq_2 = prints.pdq_2 and entries.pdq_3 = prints.pdq_3
where entries.entry > prints.entry
