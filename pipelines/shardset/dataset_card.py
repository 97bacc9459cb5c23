"""The dataset card of the Hugging Face layout: what a folder holds and how it was made, in words and for machines.

The head is YAML as the Hub reads it (huggingface.co/docs/hub/datasets-cards). It is written in JSON where a value may
hold signs, since JSON is YAML.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import pyarrow as pa

from pipelines.shardset.pieces import Plan

_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")
"""The Hub's classes of size: a factor of ten each, from a thousand."""
_ABOUT = {
    "image": "the stored image; `path` is the name that it had in the shard",
    "key": "sample key: the first 128 bits of SHA-256 over URL, NUL, caption; a foreign shard's own key",
    "caption": "the caption, as the source has it",
    "url": "image URL",
    "page_url": "page that shows it; null when the source does not say",
    "query_ids": "queries it matches, ascending, by their number in the query list",
    "width": "width of the stored image, px",
    "height": "height of the stored image, px",
    "sha256": "SHA-256 of the stored image, hex",
    "archive": "archive or table that the pair came from",
    "record_offset": "where in it",
    "attribute": "which text the caption was",
    "final_url": "URL that answered, after redirects",
    "original_width": "width before resizing, px",
    "original_height": "height before resizing, px",
    "original_sha256": "SHA-256 of the body as it was fetched, hex",
    "original_length": "size of that body, bytes",
}


def dataset_card(plan: Plan, num_file_bytes: int, columns: Mapping[str, pa.DataType], source: str) -> str:
    """Return README.md of a dataset with one split, train; `source` says in a sentence what it was made from."""
    mean_kb = plan.num_image_bytes / plan.num_samples / 1e3
    formats = ", ".join(f"{count:,} {suffix}" for suffix, count in plan.suffixes.items())
    rows = "\n".join(f"| `{name}` | {_kind(kind)} | {_ABOUT[name]} |" for name, kind in columns.items())
    return f"""---
{_head(plan, num_file_bytes, columns)}
---

# Image-text pairs

{plan.num_samples:,} images with their captions: {plan.num_image_bytes / 1e6:,.1f} MB of images,
{mean_kb:,.1f} kB each on average ({formats}).

```python
from datasets import load_dataset

pairs = load_dataset("PATH", split="train", streaming=True)
```

## How it was made

{source}

The images, captions and addresses are those of the web pages that they were found on, and belong to whoever holds
their rights. `url` and `page_url` say where each came from.

## Columns

| column | type | meaning |
|---|---|---|
{rows}
"""


def _head(plan: Plan, num_file_bytes: int, columns: Mapping[str, pa.DataType]) -> str:
    features = "\n".join(_feature(name, kind) for name, kind in columns.items())
    size_class = _SIZES[min(max(len(str(plan.num_samples)) - 3, 0), len(_SIZES) - 1)]
    return f"""configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
dataset_info:
  features:
{features}
  splits:
  - name: train
    num_bytes: {plan.num_image_bytes}
    num_examples: {plan.num_samples}
  download_size: {num_file_bytes}
  dataset_size: {plan.num_image_bytes}
size_categories:
- {json.dumps(size_class)}"""


def _feature(name: str, kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"  - name: {name}\n    sequence: {kind.value_type}"
    return f"  - name: {name}\n    dtype: {_kind(kind)}"


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return "image"
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)
