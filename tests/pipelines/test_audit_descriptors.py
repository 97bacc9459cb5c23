"""The audit by a descriptor finds what every comparison finds, and planted copies in real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("faiss")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from pipelines.audit.asking import Audit
from pipelines.audit.descriptors import (
    SearchDescribed,
    default_distance,
    made_from,
    turned,
    unpacked,
)
from pipelines.audit.engine import run_audit, run_calibration
from pipelines.audit.methods import ByDescriptor
from pipelines.audit.search import MAX_SAMPLES_AN_ITEM
from tests.pipelines.audited import encoded, make_world, picture
from tests.support import MemoryPart, run_map, write_part
from wit.cli import main
from wit.descriptors import load
from wit.errors import InputError
from wit.fingerprint import TURN_OPTIONS, TURNS, fingerprint
from wit.schema.described import DESCRIBED_ITEMS, DESCRIBED_SAMPLES
from wit.storage import read_parquet


@pytest.fixture(scope="module")
def descriptor(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A descriptor that is the picture at 8 x 8 pixels, less ImageNet's mean."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("AveragePool", ["images"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["small"], ["vectors"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, 32, 32])
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["N", 192])
    graph = helper.make_graph(nodes, "g", [images], [vectors])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("descriptor") / "small.onnx"
    path.write_bytes(model.SerializeToString())
    path.with_suffix(".json").write_text('{"threshold": 0.9}')
    return str(path)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))


def audit(world: Path, descriptor: str, **options: Any) -> Audit:
    sets = (f"pets={world / 'pets'}", f"others={world / 'others.tar'}")
    return Audit(str(world / "shards"), sets, ByDescriptor(descriptor), **options)


def overlap(out: Path) -> dict[tuple[str, str], tuple[str, float]]:
    rows = read_parquet(str(out / "items.parquet")).to_pylist()
    return {(row["set"], row["item"]): (row["key"], row["distance"]) for row in rows if row["split"] == "overlap"}


def test_planted_copies_are_found(world: Path, descriptor: str, tmp_path: Path) -> None:
    """Re-encoded and resized copies overlap, others do not; ten samples an item; what is unreadable is counted."""
    result = run_audit(audit(world, descriptor), str(tmp_path), 1)
    found = overlap(tmp_path)
    assert set(found) == {("others", "others.tar/1.png"), ("others", "others.tar/2.png")} | {
        ("pets", "cat/100.png"),
        ("pets", "dog/101.png"),
    }
    assert found["others", "others.tar/1.png"] == ("0102", 0.0)
    assert all(distance < 0.1 for _, distance in found.values())
    assert [each.contamination.num_unreadable for each in result.sets] == [0, 1]
    assert (result.num_samples, result.num_unreadable_samples) == (24, 1)
    matches = read_parquet(str(tmp_path / "matches.parquet"))
    assert matches["item"].to_pylist().count("cat/100.png") == MAX_SAMPLES_AN_ITEM
    samples = read_parquet(str(tmp_path / "samples.parquet")).to_pylist()
    assert sum(row["item"] == "cat/100.png" for row in samples) == 12
    assert result.unit == "cosine distance"


def test_the_same_files_come_of_any_number_of_processes(world: Path, descriptor: str, tmp_path: Path) -> None:
    """One process or two: every table and page is the same, byte for byte."""
    outs = [tmp_path / "one", tmp_path / "two"]
    for processes, out in enumerate(outs, 1):
        run_audit(audit(world, descriptor), str(out), processes)
    first, second = ({path.name: path.read_bytes() for path in out.glob("*.*")} for out in outs)
    assert first == second


def test_thresholds_and_turns_are_those_of_the_audit(world: Path, descriptor: str, tmp_path: Path) -> None:
    """A set's own threshold is its own; a mirrored copy is found when turns are asked for, and says so."""
    run_audit(audit(world, descriptor, thresholds=("pets=0.000001",)), str(tmp_path / "strict"), 1)
    assert {name for name, _ in overlap(tmp_path / "strict")} == {"others"}
    run_audit(audit(world, descriptor, turns="mirror"), str(tmp_path / "turned"), 1)
    assert ("pets", "dog/mirror.png") in overlap(tmp_path / "turned")
    matches = read_parquet(str(tmp_path / "turned" / "matches.parquet")).to_pylist()
    assert {row["turn"] for row in matches if row["item"] == "dog/mirror.png"} == {"mirror"}
    calibration = run_calibration(audit(world, descriptor), str(tmp_path / "calibrated"), 1, "wit overlap")
    assert calibration.sets[0].threshold == default_distance(descriptor) == 0.1


def test_the_command_takes_a_descriptor(
    world: Path, descriptor: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its thresholds are 1 - cosine; a descriptor that is none is one line."""
    command = ["overlap", str(world / "shards"), "--against", f"others={world / 'others.tar'}", "--processes", "1"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--out", str(tmp_path / "out"), "--descriptor", descriptor, "--threshold", "0.05"])
    assert ended.value.code == 0
    assert "0.05" in capsys.readouterr().out
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(SystemExit) as ended:
        main([*command, "--out", str(tmp_path / "out"), "--descriptor", str(tmp_path / "text.onnx")])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "expected an ONNX model in one file" in told
    assert told.count("\n") == 1


def test_another_descriptor_makes_other_vectors(descriptor: str, tmp_path: Path) -> None:
    """What is known of a descriptor changes with its file and with what stands beside it."""
    path = tmp_path / "small.onnx"
    path.write_bytes(Path(descriptor).read_bytes())
    found = [made_from(str(path))]
    path.with_suffix(".json").write_text('{"threshold": 0.9}')
    found.append(made_from(str(path)))
    path.write_bytes(path.read_bytes() + b"\0")
    found.append(made_from(str(path)))
    assert len({tuple(each) for each in found}) == 3
    assert made_from(descriptor) == found[1]
    with pytest.raises(InputError, match="expected a file here"):
        made_from(str(tmp_path / "none.onnx"))


@pytest.mark.parametrize("turn", range(len(TURNS)))
def test_turns_of_a_square_are_those_of_the_prints(turn: int) -> None:
    """Turned pixels have the print that the picture has for that turn: both sides mean the same by a turn."""
    from PIL import Image

    image = picture(4)
    pixels = turned(np.asarray(image), turn)
    as_turned = fingerprint(encoded(Image.fromarray(np.ascontiguousarray(pixels)), "PNG"), exact=True)
    of_turn = fingerprint(encoded(image, "PNG"), exact=True, turns=(turn,))
    assert as_turned.phash.tolist() == of_turn.phash.tolist()


def rows_of(vectors: np.ndarray[Any, Any], names: dict[str, list[Any]], schema: pa.Schema) -> pa.Table:
    halves = vectors.astype(np.float16)
    offsets = pa.array(np.arange(len(halves) + 1, dtype=np.int32) * halves.shape[1])
    return pa.table({**names, "vector": pa.ListArray.from_arrays(offsets, pa.array(halves.ravel()))}).cast(schema)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1 << 20),
    num_items=st.integers(1, 12),
    num_samples=st.integers(1, 40),
    num_directions=st.integers(1, 15),
    turns=st.sampled_from(["none", "mirror", "all"]),
    most=st.tuples(st.sampled_from([0.0, 0.05, 0.4]), st.sampled_from([0.0, 0.2, 1.0])),
)
def test_the_search_is_every_comparison(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    num_items: int,
    num_samples: int,
    num_directions: int,
    turns: str,
    most: tuple[float, float],
) -> None:
    """With equal vectors, turns and two thresholds: the nearest ten of an item, the nearest item of a sample."""
    rng = np.random.default_rng(seed)
    directions = rng.integers(-2, 3, (num_directions, 4)) + 0.25
    root = tmp_path_factory.mktemp("search")
    sides = TURN_OPTIONS[turns]
    items = [("ab"[number % 2], f"{number:02d}", turn) for number in range(num_items) for turn in sides]
    columns = dict(zip(("set", "item", "turn"), map(list, zip(*items, strict=True)), strict=True))
    names = {"set": columns["set"], "item": columns["item"], "label": [None] * len(items), "turn": columns["turn"]}
    item_table = rows_of(directions[rng.integers(0, num_directions, len(items))], names, DESCRIBED_ITEMS)
    keys = {"key": [f"{number:03d}" for number in range(num_samples)], "shard": ["s"] * num_samples}
    sample_table = rows_of(directions[rng.integers(0, num_directions, num_samples)], keys, DESCRIBED_SAMPLES)
    write_part(root, "items", 0, item_table)
    write_part(root, "samples", 0, sample_table)
    stage = SearchDescribed(("items",), (("a", most[0]), ("b", most[1])))
    tables = run_map(stage, [{"part": "samples/part-00000.parquet"}], MemoryPart(root))
    assert tables["kept"].to_pylist() == expected_items(item_table, sample_table, dict(zip("ab", most, strict=True)))
    assert tables["samples"].to_pylist() == expected_samples(
        item_table, sample_table, dict(zip("ab", most, strict=True))
    )


def compared(items: pa.Table, samples: pa.Table, most: dict[str, float]) -> list[tuple[int, int, float]]:
    """Return (item row, sample row, distance) of every pair that is near enough, by the definition."""
    left, right = (unpacked(table).astype(np.float64) for table in (items, samples))
    cosines = np.round(left @ right.T, 6).astype(np.float32)
    sets = items["set"].to_pylist()
    return [
        (row, sample, float(round(max(0.0, 1 - float(cosines[row, sample])), 6)))
        for row in range(len(items))
        for sample in range(len(samples))
        if cosines[row, sample] >= np.float32(1 - most[sets[row]])
    ]


def expected_items(items: pa.Table, samples: pa.Table, most: dict[str, float]) -> list[dict[str, Any]]:
    names, keys = items.to_pylist(), samples.to_pylist()
    best: dict[tuple[str, str], dict[int, tuple[float, int]]] = {}
    for row, sample, distance in compared(items, samples, most):
        of_item = best.setdefault((names[row]["set"], names[row]["item"]), {})
        of_item[sample] = min(of_item.get(sample, (9.0, 0)), (distance, names[row]["turn"]))
    return [
        {"set": name, "item": item, "turn": TURNS[turn], "distance": distance, "key": keys[sample]["key"], "shard": "s"}
        for (name, item), of_item in sorted(best.items())
        for sample, (distance, turn) in sorted(of_item.items(), key=lambda one: (one[1][0], one[0]))[:10]
    ]


def expected_samples(items: pa.Table, samples: pa.Table, most: dict[str, float]) -> list[dict[str, Any]]:
    names, keys = items.to_pylist(), samples.to_pylist()
    best: dict[int, tuple[float, str, str]] = {}
    for row, sample, distance in compared(items, samples, most):
        place = (distance, names[row]["set"], names[row]["item"])
        best[sample] = min(best.get(sample, place), place)
    return [
        {"key": keys[sample]["key"], "shard": "s", "distance": distance, "set": name, "item": item}
        for sample, (distance, name, item) in sorted(best.items())
    ]


def test_vectors_survive_their_table(descriptor: str) -> None:
    """Stored in 16 bits and read again a vector is within a cosine of 1e-6 of what the descriptor gave, of length 1."""
    vectors = load(descriptor).describe([encoded(picture(seed), "PNG") for seed in range(8)])
    table = rows_of(vectors, {"key": [str(seed) for seed in range(8)], "shard": ["s"] * 8}, DESCRIBED_SAMPLES)
    found = unpacked(table)
    np.testing.assert_allclose((found * vectors).sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert len(unpacked(table.slice(0, 0))) == 0
