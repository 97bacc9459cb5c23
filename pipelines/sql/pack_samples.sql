-- All that a shard says of a sample; all four tables are cut by the same bucket of the key.
select images.key, images.bucket, images.rank, images.blob, images.offset, images.length, images.format, images.sha256,
    images.width, images.height, images.original_format, images.original_sha256, images.original_length,
    images.original_width, images.original_height, images.num_frames, images.entropy, images.final_url,
    pairs.url, pairs.caption, pairs.page_url, pairs.archive, pairs.offset as record_offset, pairs.attribute,
    pairs.query_ids,
    prints.phash, prints.pdq_0, prints.pdq_1, prints.pdq_2, prints.pdq_3, prints.quality, prints.content
from chosen
join images on chosen.key = images.key
join pairs on chosen.key = pairs.key
join prints on chosen.key = prints.key
