-- The same rows, cut by the part of the fetch that they belong to.
select key, bucket, rank, url, url_bucket, archive, record_offset, place, final_url, num_redirects
from found
