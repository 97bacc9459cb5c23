-- Prints of turned images by the bucket of their key, as fingerprint_kept.
select turned.key, turned.bucket, turned.turn,
    turned.phash, turned.pdq_0, turned.pdq_1, turned.pdq_2, turned.pdq_3, turned.quality, turned.content
from turned
