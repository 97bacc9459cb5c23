from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tests.support import real_data
from tests.trainer.conftest import Sample, make_sample, make_samples, write_shards
from tests.trainer.loader.servers import serving
from trainer.embedding.encode import CACHE, Encoded, Encoding, encode
from trainer.embedding.encoder import Encoder
from trainer.embedding.folder import IMAGES, TEXTS, EmbeddingFolder, Opened, open_folder
from trainer.embedding.sources import ImageSource, Texts, find_images, read_texts
from trainer.loader.cache import RangeCache
from trainer.loader.decode import decode_center
from trainer.models.clip import build_clip
from trainer.models.config import model_config
from trainer.models.inputs import normalise_images
from trainer.parallel.ranks import Ranks
from trainer.tokenizer import ClipTokenizer
from wit.errors import InputError, MismatchError, UserError
from wit.schema import EMBEDDED_IMAGES, EMBEDDED_TEXTS, UNEMBEDDED
from wit.storage import read_parquet, read_range

TOKENIZER = ClipTokenizer([("t", "h")])
MODEL = build_clip(model_config("ViT-micro/16", TOKENIZER.vocabulary_size), seed=0).eval()
TRUNCATED, NOT_IMAGE = "cut", "text"


def make_encoder(seed: int = 0) -> Encoder:
    model = build_clip(MODEL.config, seed).eval()
    return Encoder(Opened("somewhere", "", "quick_gelu"), model, lambda: TOKENIZER, "fp32")


def no_cache() -> RangeCache:
    raise AssertionError("a cache for shards on a disk")


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """40 pictures, a file that breaks off, and one that is no picture."""
    good = make_samples(40)
    cut = make_sample("http://pictures.example/cut", TRUNCATED, good[0][1][: len(good[0][1]) // 2])
    text = make_sample("http://pictures.example/text", NOT_IMAGE, b"<html>no picture</html>")
    return sorted([*good, cut, text], key=lambda sample: str(sample[0]["key"]))


@pytest.fixture(scope="module")
def shards(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("shards"), samples, 25)


def sources_of(shards: Path, *texts: str) -> list[ImageSource | Texts]:
    return [find_images(str(shards), no_cache), *map(read_texts, texts)]


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def whole_table(folder: EmbeddingFolder, table: str) -> tuple[list[dict[str, object]], np.ndarray]:
    rows: list[dict[str, object]] = []
    vectors = []
    for number, part in folder.vectors(table):
        rows += folder.rows(table, number, np.arange(len(part)))
        vectors.append(part)
    return rows, np.concatenate(vectors)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["parquet", "npy"])
def test_each_image_and_caption_has_its_embedding(
    samples: list[Sample], shards: Path, tmp_path: Path, kind: str
) -> None:
    """Row by row what one image and one caption at a time give; two images are rejected, their captions kept."""
    how = Encoding(numbers="fp32", format=kind, part_rows=16, batch_size=5)
    done = encode(make_encoder(), sources_of(shards), str(tmp_path / "out"), how)
    assert done == Encoded(num_images=40, num_texts=42, num_rejects=2, is_whole=True)
    folder = open_folder(str(tmp_path / "out"))
    by_key = {row["key"]: (row, body) for row, body in samples}
    rows, vectors = whole_table(folder, IMAGES)
    assert [row["key"] for row in rows] == [
        key for key in by_key if by_key[key][0]["caption"] not in (TRUNCATED, NOT_IMAGE)
    ]
    for row, vector in zip(rows, vectors, strict=True):
        sample, body = by_key[row["key"]]
        assert read_range(str(row["source"]), row["offset"], row["length"]) == body
        assert row["caption"] == sample["caption"]
        pixels = torch.tensor(decode_center(body, 32))[None]
        np.testing.assert_allclose(vector, MODEL.encode_image(normalise_images(pixels))[0].numpy(), atol=1e-5)
    rows, vectors = whole_table(folder, TEXTS)
    assert [(row["key"], row["text"]) for row in rows] == [(key, row["caption"]) for key, (row, _) in by_key.items()]
    for row, vector in zip(rows, vectors, strict=True):
        tokens = torch.from_numpy(TOKENIZER([str(row["text"])], 16))
        np.testing.assert_allclose(vector, MODEL.encode_text(tokens)[0].numpy(), atol=1e-5)


def test_what_could_not_be_read_is_a_table(shards: Path, tmp_path: Path) -> None:
    """Each rejected image has a row with its reason; tables have their schemas; half precision is the rounded one."""
    encode(make_encoder(), sources_of(shards), str(tmp_path / "out"), Encoding(part_rows=1_000))
    rejects = read_parquet(str(tmp_path / "out" / "rejects" / "part-00000.parquet"))
    assert rejects.schema.equals(UNEMBEDDED)
    assert sorted(rejects["reason"].to_pylist()) == ["corrupt_image", "not_image"]
    for table, schema in ((IMAGES, EMBEDDED_IMAGES), (TEXTS, EMBEDDED_TEXTS)):
        found = read_parquet(str(tmp_path / "out" / table / "part-00000.parquet"))
        assert found.drop_columns(["embedding"]).schema.equals(schema)
        assert found.schema.field("embedding").type == pa.list_(pa.field("element", pa.float16(), nullable=False), 32)
        lengths = np.linalg.norm(np.array(found["embedding"].to_pylist(), np.float32), axis=1)
        np.testing.assert_allclose(lengths, 1, atol=2e-3)


class Killed(BaseException):
    """What no code under test catches."""


def test_killed_anywhere_the_same_bytes_come_of_it(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before any one of its files gets its name, then run again: every file is what it is undisturbed."""
    texts = tmp_path / "captions.txt"
    texts.write_text("a red circle\n\na blue square\n")
    how = Encoding(part_rows=20, batch_size=7)
    replace, named = os.replace, list[str]()

    def run(out: Path, files: int = 1_000) -> Encoded:
        def replace_so_many(source: str, target: str) -> None:
            if len(named) == files:
                raise Killed
            named.append(target)
            replace(source, target)

        named.clear()
        monkeypatch.setattr(os, "replace", replace_so_many)
        return encode(make_encoder(), sources_of(shards, str(texts)), str(out), how)

    run(tmp_path / "whole")
    num_files = len(named)
    expected = files_below(tmp_path / "whole")
    keys = read_parquet(str(tmp_path / "whole" / "texts" / "part-00003.parquet"))["key"]
    assert keys.to_pylist() == [f"captions.txt:{line}" for line in (1, 2, 3)]
    for files in range(num_files):
        out = tmp_path / f"killed-{files}"
        with pytest.raises(Killed):
            run(out, files)
        with pytest.raises(InputError, match="expected all embeddings, found some" if files else "found none"):
            open_folder(str(out))
        run(out)
        assert files_below(out) == expected
    run(out)
    assert [Path(path).name for path in named] == ["manifest.json"]  # nothing is made twice


def test_ranks_that_share_the_parts(shards: Path, tmp_path: Path) -> None:
    """Three ranks, in whatever order they come, make the files of one; the last of them says that all is there."""
    how = Encoding(part_rows=9)
    encode(make_encoder(), sources_of(shards), str(tmp_path / "one"), how)
    done = [
        encode(make_encoder(), sources_of(shards), str(tmp_path / "three"), how, Ranks(rank, 3)).is_whole
        for rank in (2, 0, 1)
    ]
    assert done == [False, False, True]
    assert files_below(tmp_path / "one") == files_below(tmp_path / "three")


def test_a_folder_of_another_making_is_refused(shards: Path, tmp_path: Path) -> None:
    """Another model, other inputs, other numbers, someone's own files: one line, and nothing is touched."""
    out, how = tmp_path / "out", Encoding(part_rows=30)
    encode(make_encoder(), sources_of(shards), str(out), how)
    before = files_below(out)
    with pytest.raises(MismatchError, match=r"model\.fingerprint"):
        encode(make_encoder(seed=1), sources_of(shards), str(out), how)
    with pytest.raises(MismatchError, match="numbers"):
        encode(make_encoder(), sources_of(shards), str(out), Encoding(part_rows=30, numbers="fp32"))
    fewer = tmp_path / "fewer"
    shutil.copytree(shards, fewer)
    for path in fewer.glob("00001.*"):
        path.unlink()
    with pytest.raises(MismatchError, match="inputs"):
        encode(make_encoder(), sources_of(fewer), str(out), how)
    assert files_below(out) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words")
    with pytest.raises(MismatchError, match="expected a new folder or one of wit encode"):
        encode(make_encoder(), sources_of(shards), str(tmp_path / "mine"), how)


def test_a_folder_of_images(tmp_path: Path) -> None:
    """Files of a folder have paths for keys and no captions; a source of nothing but broken ones is an error."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name, colour in (("b.png", "red"), ("deep/a.webp", "blue")):
        Image.new("RGB", (40, 50), colour).save(tmp_path / "in" / name)
    (tmp_path / "in" / "c.jpg").write_bytes(b"")
    source = find_images(str(tmp_path / "in"), no_cache)
    done = encode(make_encoder(), [source], str(tmp_path / "out"), Encoding())
    assert done == Encoded(num_images=2, num_texts=0, num_rejects=1, is_whole=True)
    rows, _ = whole_table(open_folder(str(tmp_path / "out")), IMAGES)
    assert [(row["key"], row["caption"]) for row in rows] == [("b.png", None), ("deep/a.webp", None)]
    assert rows[1]["source"] == str(tmp_path / "in" / "deep" / "a.webp")
    for path in ("b.png", "deep/a.webp"):
        (tmp_path / "in" / path).unlink()
    with pytest.raises(InputError, match="expected an image that can be read, found none among 1"):
        encode(make_encoder(), [find_images(str(tmp_path / "in"), no_cache)], str(tmp_path / "none"), Encoding())


def test_captions_of_files(tmp_path: Path) -> None:
    """Lines of a text file, or the column of captions of a Parquet file; anything else is one clear line."""
    text, table = tmp_path / "a.txt", tmp_path / "a.parquet"
    text.write_text("one\n\ntwo – café")
    assert list(read_texts(str(text)).lines) == ["one", "", "two – café"]
    pq.write_table(pa.table({"url": ["x"], "caption": ["a cat"]}), table)
    assert list(read_texts(str(table)).lines) == ["a cat"]
    pq.write_table(pa.table({"url": ["x"]}), table)
    with pytest.raises(InputError, match="expected a column of captions"):
        read_texts(str(table))
    pq.write_table(pa.table({"caption": pa.array(["a", None])}), table)
    with pytest.raises(InputError, match="expected text in every row"):
        read_texts(str(table))
    pq.write_table(pa.table({"caption": pa.array([b"\xff"]).cast(pa.string(), safe=False)}), table)
    with pytest.raises(InputError, match="expected text in UTF-8"):
        read_texts(str(table))
    for bad in (b"", b"\xff\xfe"):
        text.write_bytes(bad)
        with pytest.raises(InputError, match="expected"):
            read_texts(str(text))


def test_numbers_that_are_none_are_not_written(shards: Path, tmp_path: Path) -> None:
    """A model whose embeddings overflow is said to, before anything of the part is written."""
    encoder = make_encoder()
    with torch.no_grad():
        encoder.model.visual.proj.fill_(float("inf"))
    with pytest.raises(UserError, match="expected embeddings of finite numbers"):
        encode(encoder, sources_of(shards), str(tmp_path / "out"), Encoding())
    assert not (tmp_path / "out" / "images").exists()


def test_shards_at_a_url(shards: Path, tmp_path: Path) -> None:
    """Through HTTP, in a few large ranges, come the embeddings of local shards; the cache is gone when all is done."""
    local, remote = tmp_path / "local", tmp_path / "remote"
    encode(make_encoder(), sources_of(shards), str(local), Encoding())
    with serving(shards) as served:
        source = find_images(f"{served.url}/{{00000..00001}}.tar", lambda: RangeCache(str(remote / CACHE), 1 << 24))
        done = encode(make_encoder(), [source], str(remote), Encoding())
        assert len([path for path, _, _ in served.ranges if path.endswith(".tar")]) < 10
        assert done == Encoded(num_images=40, num_texts=42, num_rejects=2, is_whole=True)
        assert not (remote / CACHE).exists()
        tables = [whole_table(open_folder(str(folder)), IMAGES) for folder in (local, remote)]
        assert np.array_equal(tables[0][1], tables[1][1])
        row = tables[1][0][0]
        assert str(row["source"]).startswith(served.url)
        assert len(read_range(str(row["source"]), row["offset"], row["length"])) == row["length"]


@pytest.mark.parametrize("kind", ["parquet", "npy"])
def test_a_folder_at_a_url(shards: Path, tmp_path: Path, kind: str) -> None:
    """What is written to a URL is what is written to a disk, and is read from there."""
    how, out = Encoding(part_rows=16, format=kind), f"memory://embeddings-{kind}"
    for folder in (str(tmp_path / "local"), out):
        encode(make_encoder(), sources_of(shards), folder, how)
    local, remote = open_folder(str(tmp_path / "local")), open_folder(out)
    assert remote.facts == local.facts
    for table in (IMAGES, TEXTS):
        (rows, vectors), (others, also) = whole_table(local, table), whole_table(remote, table)
        assert rows == others
        assert np.array_equal(vectors, also)


def test_real_photographs_are_embedded(tmp_path: Path) -> None:
    """80 photographs of COCO in any batch size: the same embeddings to 1e-5."""
    source = find_images(str(real_data("image_text", "coco-mini", "train2017")), no_cache)
    found = []
    for batch_size in (7, 80):
        out = tmp_path / str(batch_size)
        encode(make_encoder(), [source], str(out), Encoding(numbers="fp32", batch_size=batch_size, part_rows=30))
        found.append(whole_table(open_folder(str(out)), IMAGES))
    assert len(found[0][0]) == 80
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-5)
