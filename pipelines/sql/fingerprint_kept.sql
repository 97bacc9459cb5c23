-- Fingerprints by the bucket of their key; until here the tables of images lie by host.
select fingerprints.key, fingerprints.bucket, fingerprints.rank, fingerprints.num_pixels, fingerprints.phash
from fingerprints
