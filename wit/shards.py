"""Shards: plain WebDataset tars with a Parquet index beside each, and a manifest of them all.

A sample is three members that share a stem, its key: `KEY.jpg` (or .png, .webp, .gif), `KEY.json` (metadata),
`KEY.txt` (the caption). Members are sorted by name and every header is the same plain ustar (mtime 0, no owner), so
the same samples give the same bytes. The index says where each member's bytes lie, which makes reading exact and
resumable without walking the tar.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from types import MappingProxyType
from typing import IO, Any, NamedTuple

import orjson
import pyarrow as pa

from wit import manifest, tar
from wit.errors import ContractError, InputError
from wit.foreign import split_name
from wit.schema import FOREIGN_INDEX, PRINTS, SHARD_INDEX, conform
from wit.storage import base_name, exists, join, list_names, open_input, publish, read_parquet, write_table

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
FOREIGN_SUFFIX = ".index.parquet"
MAKE_INDEX = "wit shards index makes indexes of tars that were made elsewhere"
MADE_FROM = "made_from.json"
"""Says what a set is made from; it stays beside the manifest, which a set has when it is finished."""
REMOVALS_NAME = "removals.parquet"
"""Table of the samples that were taken out of a folder's shards, as wit.schema.REMOVALS."""
UNDER_WAY = "removing.parquet"
"""What a removal that is not finished takes out of the shards beside it; as wit.schema.REMOVALS."""

PARTS = ("image", "text", "json")
"""Members of a sample, as the columns of its index name them: image_offset, image_length, ..."""

SUFFIXES = {"jpeg": "jpg", "png": "png", "webp": "webp", "gif": "gif"}
"""Suffix of the image member, by format of the stored image."""

METADATA = (
    "key", "url", "final_url", "page_url", "archive", "record_offset", "attribute", "caption", "query_ids",
    "width", "height", "original_width", "original_height", "sha256", "original_sha256", "original_length",
)  # fmt: skip
"""Columns of `wit.schema.SAMPLES` that a sample's JSON member may hold; all of them unless a recipe says which."""

NOTHING: Mapping[str, Any] = MappingProxyType({})

_INDEX_BATCH_ROWS = 1_000
_HASH_BYTES = 1 << 20

Row = Mapping[str, Any]
"""A row of `wit.schema.SAMPLES`."""


def shard_name(number: int) -> str:
    """Return the file name of a shard: five digits, more where they are needed."""
    return f"{number:05d}.tar"


def folder_of(shard: str) -> str:
    """Return the folder (or URL) in which a shard lies."""
    return shard.rpartition("/")[0] or "."


def index_name(shard: str) -> str:
    """Return the file name (or URL) of the index of a shard."""
    return shard.removesuffix(".tar") + ".parquet"


def foreign_index_name(shard: str) -> str:
    """Return the file name (or URL) of the index that wit makes of a tar that somebody else made.

    Not `index_name`: there img2dataset keeps a table of its own.
    """
    return shard.removesuffix(".tar") + FOREIGN_SUFFIX


class Described(NamedTuple):
    """What the manifest says of a shard, and of its index."""

    of_shard: dict[str, Any]
    of_index: dict[str, Any]


def write_shard(
    folder: str,
    number: int,
    samples: Iterable[tuple[Row, bytes]],
    metadata: Collection[str] = METADATA,
    scratch: str | None = None,
) -> Described:
    """Write one shard and its index into `folder`; return what a manifest says of them.

    `samples` are (row of SAMPLES, bytes of the image) in key order; their JSON members hold the fields `metadata`. Both
    files are published when they are whole, the index last; what goes to a URL lies in `scratch` until then. One image
    is in memory at a time, and the index (about 1 kB a sample).
    """
    name = shard_name(number)
    fields = [field for field in METADATA if field in metadata]
    with publish(join(folder, name), scratch) as file:
        index = pa.Table.from_batches(_write_samples(file, name, iter(samples), fields), SHARD_INDEX)
        file.write(tar.END)
        of_shard = {"name": name, "num_samples": index.num_rows, **_fingerprint(file)}
    with publish(join(folder, index_name(name)), scratch) as file:
        write_table(file, index)
        return Described(of_shard, {"name": index_name(name), **_fingerprint(file)})


def _write_samples(
    file: IO[bytes], shard: str, samples: Iterator[tuple[Row, bytes]], fields: list[str]
) -> Iterator[pa.RecordBatch]:
    while rows := [_write_sample(file, shard, row, image, fields) for row, image in islice(samples, _INDEX_BATCH_ROWS)]:
        yield pa.RecordBatch.from_pylist(rows, schema=SHARD_INDEX)


def _write_sample(file: IO[bytes], shard: str, row: Row, image: bytes, fields: list[str]) -> dict[str, Any]:
    """Append the members of a sample; return its row of the index."""
    key = row["key"]
    image_member = f"{key}.{SUFFIXES[row['format']]}"
    contents = {image_member: image, f"{key}.json": metadata_json(row, fields), f"{key}.txt": row["caption"].encode()}
    offsets: dict[str, int] = {}
    for name in sorted(contents):
        data = contents[name]
        file.write(tar.header(name, len(data)))
        offsets[name] = file.tell()
        file.write(data)
        file.write(tar.padding(len(data)))
    placed: dict[str, str | int] = {"shard": shard, "image_member": image_member}
    for part, name in (("image", image_member), ("text", f"{key}.txt"), ("json", f"{key}.json")):
        placed |= {f"{part}_offset": offsets[name], f"{part}_length": len(contents[name])}
    return {name: placed[name] if name in placed else row[name] for name in SHARD_INDEX.names}


def metadata_json(row: Row, fields: Iterable[str]) -> bytes:
    """Return the JSON member of a sample: some of METADATA, by name."""
    return orjson.dumps({name: row[name] for name in fields}, option=orjson.OPT_SORT_KEYS)


def sample_bytes(row: Row, fields: Iterable[str]) -> int:
    """Return how many bytes of a tar a sample takes, headers and padding included."""
    lengths = (row["length"], len(row["caption"].encode()), len(metadata_json(row, fields)))
    return sum(tar.BLOCK + length + -length % tar.BLOCK for length in lengths)


def read_any_index(shard: str) -> pa.Table:
    """Return the index of a shard (URL of the tar): SHARD_INDEX, or FOREIGN_INDEX where we did not make the tar.

    Raises InputError or ContractError when it is neither.
    """
    try:
        return as_index(read_parquet(index_name(shard)), SHARD_INDEX)
    except (InputError, ContractError):
        if exists(foreign_index_name(shard)):
            return as_index(read_parquet(foreign_index_name(shard)), FOREIGN_INDEX)
        if exists(index_name(shard)):
            raise
    raise _no_index(index_name(shard))


def as_index(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table as SHARD_INDEX or FOREIGN_INDEX; raises ContractError when it is not.

    One that was written before indexes had prints has nulls for them.
    """
    for field in PRINTS:
        if field.name not in table.column_names:
            table = table.append_column(field.name, pa.nulls(len(table), field.type))
    return conform(table, schema)


def _no_index(url: str) -> InputError:
    return InputError(f"{url}: expected a file here, found nothing; {MAKE_INDEX}")


def is_foreign(index: pa.Table) -> bool:
    """Return whether an index is that of a tar that somebody else made."""
    return "sample_offset" in index.column_names


def read_index(shard: str) -> pa.Table:
    """Return the columns of SHARD_INDEX of the index of a shard, whoever made it; raises as `read_any_index`."""
    return read_any_index(shard).select(SHARD_INDEX.names).cast(SHARD_INDEX)


def list_shards(folder: str) -> list[str]:
    """Return the URLs of the shards in a folder, in order."""
    return [join(folder, name) for name in list_names(folder) if name.endswith(".tar")]


def list_indexes(folder: str) -> list[str]:
    """Return the URLs of our indexes in a folder, in the order of their shards."""
    names = set(list_names(folder))
    indexes = (index_name(name) for name in sorted(names) if name.endswith(".tar"))
    return [join(folder, name) for name in indexes if name in names]


def shards_of_run(root: str) -> str:
    """Return the folder of a run's shards: that which its recipe names (pack.out), else RUN/shards."""
    url = join(root, "run.json")
    recipe = manifest.read(url).get("recipe") if exists(url) else None
    pack = recipe.get("pack") if isinstance(recipe, dict) else None
    out = pack.get("out") if isinstance(pack, dict) else None
    return out if isinstance(out, str) and out else join(root, "shards")


def read_samples(shard: str) -> Iterator[dict[str, tuple[str, bytes]]]:
    """Yield the samples of any WebDataset tar: {suffix: (name of the member, bytes)}, adjacent members by stem.

    Needs no index. One sample is in memory at a time. Raises InputError where the tar is broken.
    """
    with open_input(shard) as file:
        stem: str | None = None
        sample: dict[str, tuple[str, bytes]] = {}
        for member in tar.members(file, shard):
            found, suffix = split_name(member.name)
            if found != stem:
                if sample:
                    yield sample
                stem, sample = found, {}
            sample[suffix.lower()] = (member.name, tar.read_member(file, member, shard))
        if sample:
            yield sample


def fingerprint(url: str) -> dict[str, Any]:
    """Return the size in bytes and the SHA-256 (hex) of a whole file."""
    with open_input(url) as file:
        return _fingerprint(file)


def _fingerprint(file: IO[bytes]) -> dict[str, Any]:
    """Return size and hash of an open file that can be read; it is read from its start to its end."""
    file.seek(0)
    digest, num_bytes = hashlib.sha256(), 0
    while block := file.read(_HASH_BYTES):
        digest.update(block)
        num_bytes += len(block)
    return {"bytes": num_bytes, "sha256": digest.hexdigest()}


def find_index(shard: str) -> str:
    """Return the URL of the index beside a shard, whoever made the tar."""
    foreign = foreign_index_name(shard)
    return foreign if exists(foreign) else index_name(shard)


def num_samples(shard: str) -> int:
    """Return how many samples the index of a shard has; raises InputError when there is none."""
    url = find_index(shard)
    if not exists(url):
        raise _no_index(url)
    return _num_rows(url)


def describe(shard: str) -> Described:
    """Hash a shard and its index; raises InputError when it has none."""
    url = find_index(shard)
    count = _num_rows(url)
    foreign = {"is_foreign": True} if url == foreign_index_name(shard) else {}
    return Described(
        {"name": base_name(shard), "num_samples": count, **fingerprint(shard), **foreign},
        {"name": base_name(url), **fingerprint(url)},
    )


def write_manifest(folder: str, more: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """Hash every shard and index of a folder, and publish `manifest.json`; return what it says.

    A function of the files and of `more` (see `publish_manifest`) alone: no clock, no host. Raises InputError when a
    shard has no index.
    """
    with ThreadPoolExecutor() as pool:  # hashing lets go of the interpreter's lock
        return publish_manifest(folder, pool.map(describe, list_shards(folder)), more)


def publish_manifest(folder: str, described: Iterable[Described], more: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """Publish the `manifest.json` of a folder whose shards are described, in order; return what it says.

    `more` is what else it says of all shards together, as `metadata`: the fields that every sample's JSON member has
    (all of METADATA unless it says so).
    """
    each = list(described)
    value = {"metadata": list(METADATA), **more} | {
        "schema_version": SCHEMA_VERSION,
        "num_samples": sum(one.of_shard["num_samples"] for one in each),
        "num_bytes": sum(one.of_shard["bytes"] for one in each),
        "shards": [one.of_shard for one in each],
        "indexes": [one.of_index for one in each],
    }
    removals = join(folder, REMOVALS_NAME)
    if exists(removals):
        value["removals"] = {"name": REMOVALS_NAME, "num_samples": _num_rows(removals), **fingerprint(removals)}
    manifest.write(join(folder, MANIFEST), value)
    return value


def read_manifest(folder: str) -> tuple[dict[str, Described], dict[str, Any]]:
    """Return what the manifest of a folder says of each shard, by name, and what else it says of all.

    Raises InputError when there is no manifest of shards, of this version.
    """
    url = join(folder, MANIFEST)
    value = manifest.read(url, "schema_version", "num_samples", "shards", "indexes")
    try:
        pairs = zip(value.pop("shards"), value.pop("indexes"), strict=True)
        described = {of_shard["name"]: Described(of_shard, of_index) for of_shard, of_index in pairs}
        sums = [sum(each.of_shard[name] for each in described.values()) for name in ("num_samples", "bytes")]
        if not all(isinstance(value, int) for value in sums):
            raise TypeError("numbers expected")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{url}: expected a manifest of shards, found something else") from error
    if value["schema_version"] != SCHEMA_VERSION:
        raise InputError(f"{url}: expected schema version {SCHEMA_VERSION}, found {value['schema_version']}")
    computed = ("schema_version", "num_samples", "num_bytes", "removals")
    return described, {name: each for name, each in value.items() if name not in computed}


def stated_shards(folder: str) -> dict[str, Described]:
    """Return what the manifest of a folder says of each shard, by name: nothing where there is none, or no such one."""
    try:
        return read_manifest(folder)[0] if exists(join(folder, MANIFEST)) else {}
    except InputError:  # somebody else's file of the same name
        return {}


def stated_metadata(folder: str) -> tuple[str, ...]:
    """Return the fields that, by the manifest of a folder, the JSON member of every sample has.

    Without a manifest there are none; one that does not say is older than the choice, and means all of METADATA.
    """
    url = join(folder, MANIFEST)
    try:
        stated = manifest.read(url).get("metadata", METADATA) if exists(url) else ()
    except InputError:  # told by whoever reads the manifest for what it says of files
        stated = ()
    return tuple(field for field in METADATA if isinstance(stated, list | tuple) and field in stated)


def common_metadata(folders: Iterable[str]) -> list[str]:
    """Return the fields that the JSON members of all samples in some folders have, as their manifests say."""
    stated = [stated_metadata(folder) for folder in folders]
    return [field for field in METADATA if all(field in each for each in stated)]


def _num_rows(url: str) -> int:
    import pyarrow.parquet as pq

    with open_input(url) as file:
        try:
            return int(pq.read_metadata(file).num_rows)
        except pa.ArrowInvalid as error:
            raise InputError(f"{url}: not a readable Parquet file: {error}") from error
