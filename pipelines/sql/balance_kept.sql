select pairs.*
from pairs
join (select key from winners group by key) winner on pairs.key = winner.key
