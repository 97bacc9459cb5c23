select fingerprints.key, fingerprints.bucket, fingerprints.rank, fingerprints.num_pixels, fingerprints.phash
from fingerprints
left join duplicates on fingerprints.key = duplicates.key
where duplicates.key is null
