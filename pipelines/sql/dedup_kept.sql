select fingerprints.key, fingerprints.bucket, fingerprints.rank, fingerprints.num_pixels,
    fingerprints.phash, fingerprints.pdq_0, fingerprints.pdq_1, fingerprints.pdq_2, fingerprints.pdq_3, fingerprints.quality, fingerprints.content
from fingerprints
left join duplicates on fingerprints.key = duplicates.key
where duplicates.key is null
