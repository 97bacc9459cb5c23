-- Pairs by the part of the fetch that asks for their images.
select asked.key, asked.bucket, asked.rank, asked.url, asked.place
from asked
