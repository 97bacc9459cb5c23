"""Every table that crosses a stage: one Arrow schema each, non-null unless it says why, units in metadata."""

from __future__ import annotations

import pyarrow as pa

from wit.errors import ContractError
from wit.schema.archives import (
    BODIES,
    LOCATED,
    ORIGINALS,
    REVISITED,
    REVISITS,
    SOUGHT,
    TRAILS,
)
from wit.schema.balance import (
    BORDER_PAIRS,
    BORDERS,
    CHANCES,
    CUTOFFS,
    HEADS,
    MATCH_HISTOGRAM,
    QUERIED,
    QUERY_COUNTS,
    RANK_CELLS,
    TERM_COUNTS,
)
from wit.schema.candidates import (
    CANDIDATES,
    FREQUENT_PHRASES,
    INPUTS,
    LEARNED_PHRASES,
    MATCH_COUNTS,
    MATCHED,
    MATCHES,
    PAIRS,
    PHRASES,
    TERMS,
)
from wit.schema.evaluation import (
    CONTAMINATIONS,
    EVALUATION_INPUTS,
    ITEMS,
    OVERLAPPING,
    OVERLAPS,
    PREDICTIONS,
    REFERENCES,
    TWINS,
    UNREADABLE,
)
from wit.schema.images import (
    ASKED,
    CLUSTERS,
    DUPLICATES,
    EDGES,
    FINGERPRINTS,
    IMAGES,
    PRINTS,
    REPEATED,
    SIGHTINGS,
    SLICES,
    TURNED,
)
from wit.schema.queries import (
    DIFFERENCES,
    QUERIES,
    UNMATCHABLE,
)
from wit.schema.samples import (
    FOREIGN_INDEX,
    PACKED,
    REJECTS,
    REMOVALS,
    SAMPLE_SIZES,
    SAMPLES,
    SHARD_FILES,
    SHARD_INDEX,
)

__all__ = [
    "ASKED",
    "BODIES",
    "BORDERS",
    "BORDER_PAIRS",
    "CANDIDATES",
    "CHANCES",
    "CLUSTERS",
    "CONTAMINATIONS",
    "CUTOFFS",
    "DIFFERENCES",
    "DUPLICATES",
    "EDGES",
    "EVALUATION_INPUTS",
    "FINGERPRINTS",
    "FOREIGN_INDEX",
    "FREQUENT_PHRASES",
    "HEADS",
    "IMAGES",
    "INPUTS",
    "ITEMS",
    "LEARNED_PHRASES",
    "LOCATED",
    "MATCHED",
    "MATCHES",
    "MATCH_COUNTS",
    "MATCH_HISTOGRAM",
    "ORIGINALS",
    "OVERLAPPING",
    "OVERLAPS",
    "PACKED",
    "PAIRS",
    "PHRASES",
    "PREDICTIONS",
    "PRINTS",
    "QUERIED",
    "QUERIES",
    "QUERY_COUNTS",
    "RANK_CELLS",
    "REFERENCES",
    "REJECTS",
    "REMOVALS",
    "REPEATED",
    "REVISITED",
    "REVISITS",
    "SAMPLES",
    "SAMPLE_SIZES",
    "SHARD_FILES",
    "SHARD_INDEX",
    "SIGHTINGS",
    "SLICES",
    "SOUGHT",
    "TABLES",
    "TERMS",
    "TERM_COUNTS",
    "TRAILS",
    "TURNED",
    "TWINS",
    "UNMATCHABLE",
    "UNREADABLE",
    "conform",
]

TABLES: dict[str, pa.Schema] = {
    "inputs": INPUTS,
    "candidates": CANDIDATES,
    "pairs": PAIRS,
    "phrases": PHRASES,
    "frequent_phrases": FREQUENT_PHRASES,
    "learned_phrases": LEARNED_PHRASES,
    "matched": MATCHED,
    "matches": MATCHES,
    "match_counts": MATCH_COUNTS,
    "terms": TERMS,
    "asked": ASKED,
    "sought": SOUGHT,
    "bodies": BODIES,
    "originals": ORIGINALS,
    "revisits": REVISITS,
    "revisited": REVISITED,
    "trails": TRAILS,
    "located": LOCATED,
    "term_counts": TERM_COUNTS,
    "heads": HEADS,
    "rank_cells": RANK_CELLS,
    "borders": BORDERS,
    "border_pairs": BORDER_PAIRS,
    "cutoffs": CUTOFFS,
    "chances": CHANCES,
    "match_histogram": MATCH_HISTOGRAM,
    "query_counts": QUERY_COUNTS,
    "queried": QUERIED,
    "images": IMAGES,
    "sightings": SIGHTINGS,
    "repeated": REPEATED,
    "fingerprints": FINGERPRINTS,
    "turned": TURNED,
    "edges": EDGES,
    "clusters": CLUSTERS,
    "duplicates": DUPLICATES,
    "slices": SLICES,
    "evaluation_inputs": EVALUATION_INPUTS,
    "references": REFERENCES,
    "unreadable": UNREADABLE,
    "overlaps": OVERLAPS,
    "overlapping": OVERLAPPING,
    "items": ITEMS,
    "contaminations": CONTAMINATIONS,
    "twins": TWINS,
    "samples": SAMPLES,
    "sample_sizes": SAMPLE_SIZES,
    "packed": PACKED,
    "shard_files": SHARD_FILES,
    "rejects": REJECTS,
    "queries": QUERIES,
    "unmatchable": UNMATCHABLE,
    "differences": DIFFERENCES,
    "shard_index": SHARD_INDEX,
    "foreign_index": FOREIGN_INDEX,
    "removals": REMOVALS,
    "predictions": PREDICTIONS,
}


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return `table` with exactly the columns, order, types and metadata of `schema`.

    Integers are cast safely (an overflow is an error). Raises ContractError for a missing or extra column, a
    value that does not fit, or a null where the schema has none.
    """
    missing = set(schema.names) - set(table.column_names)
    extra = set(table.column_names) - set(schema.names)
    if missing or extra:
        raise ContractError(f"expected columns {schema.names}; missing {sorted(missing)}, unexpected {sorted(extra)}")
    for field in schema:
        nulls = table.column(field.name).null_count
        if nulls and not field.nullable:
            raise ContractError(f"column {field.name!r} has {nulls} nulls, and its schema allows none")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise ContractError(f"table does not fit its schema: {error}") from error
