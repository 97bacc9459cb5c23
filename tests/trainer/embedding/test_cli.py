from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.html import check_nesting, shown_text, tags
from tests.trainer.conftest import Sample, make_sample, make_samples, write_shards
from tests.trainer.ranks import run_ranks
from trainer.interchange.writing import write_openai
from trainer.models.clip import build_clip
from trainer.models.config import model_config
from trainer.tokenizer import ClipTokenizer, dump_merges
from wit.cli import main

HOSTILE = "<script>alert('x')</script> \x1b[31m red \u202e right-to-left"
MERGES = [("t", "h")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 20 pictures, one of them with a hostile caption; two models; a vocabulary; embeddings of the first."""
    root = tmp_path_factory.mktemp("world")
    first = make_samples(20)
    hostile: Sample = make_sample("http://pictures.example/hostile", HOSTILE, first[0][1], "jpeg")
    write_shards(root / "shards", sorted([*first, hostile], key=lambda sample: str(sample[0]["key"])), 8)
    config = model_config("ViT-micro/16", ClipTokenizer(MERGES).vocabulary_size)
    for seed in range(2):
        write_openai(str(root / f"{seed}.safetensors"), build_clip(config, seed))
    (root / "merges.txt").write_bytes(dump_merges(MERGES))
    run(*encoding(root, root / "embeddings"))
    return root


def encoding(root: Path, out: Path) -> list[str]:
    words = ["encode", str(root / "0.safetensors"), "--images", str(root / "shards"), "--merges"]
    return [*words, str(root / "merges.txt"), "--part-rows", "6", "--device", "cpu", "--out", str(out)]


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 0


def fail(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line that a user's mistake gives."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("wit: error: ")
    assert said.count("\n") == 1
    return said


def test_an_image_finds_itself(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`wit search --image` of a picture in the shards: that picture first, with cosine 1, in table, JSON and page."""
    body = make_samples(20)[7][1]
    picture = tmp_path / "one.picture"
    picture.write_bytes(body)
    options = ["--image", str(picture), "-k", "3", "--device", "cpu"]
    found = [f"--json={tmp_path / 'found.json'}", f"--page={tmp_path / 'found.html'}"]
    run("search", str(world / "embeddings"), "two words", *options, *found)
    words, image = json.loads((tmp_path / "found.json").read_text())
    assert (words["query"], words["is_image"], len(words["hits"])) == ("two words", False, 3)
    best = image["hits"][0]
    assert best["key"] == make_samples(20)[7][0]["key"]
    assert best["score"] == pytest.approx(1, abs=2e-3)
    assert [hit["rank"] for hit in image["hits"]] == [1, 2, 3]
    lines = capsys.readouterr().out.splitlines()
    assert [lines[0], lines[4]] == ["two words", str(picture)[:100]]
    assert lines[5].split()[:3] == ["1", f"{best['score']:.4f}", best["key"]]
    page = (tmp_path / "found.html").read_text()
    check_nesting(page)
    assert sum(name == "img" for name, _ in tags(page)) == 7  # six hits and the picture that was looked for
    assert all(str(given["src"]).startswith("data:image/") for name, given in tags(page) if name == "img")


def test_hostile_captions_are_text(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A caption with markup and control characters is neither on the page nor on the terminal more than words."""
    page = tmp_path / "found.html"
    run("search", str(world / "embeddings"), HOSTILE, "--among", "texts", "-k", "1", "--page", str(page))
    shown = capsys.readouterr().out
    assert "<script>alert('x')</script>" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    check_nesting(page.read_text())
    assert not any(name == "script" for name, _ in tags(page.read_text()))
    assert shown_text(page.read_text()).count("<script>alert('x')</script>") == 3  # contents, heading, the hit


def test_pictures_that_are_gone_are_told_of(world: Path, tmp_path: Path) -> None:
    """The page of a search says which pictures it could not read; the search itself needs none."""
    embeddings, shards = tmp_path / "embeddings", tmp_path / "shards"
    write_shards(shards, make_samples(4), 2)
    run(*encoding(world, embeddings), "--images", str(shards))
    (shards / "00001.tar").unlink()
    run("search", str(embeddings), "a", "-k", "100", "--page", str(tmp_path / "page.html"))
    text = shown_text((tmp_path / "page.html").read_text())
    assert text.count("not shown: ") == 2
    assert "00001.tar: expected a file here, found nothing" in text


def test_mistakes_are_one_line(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to embed or to look for, another model or vocabulary, no pictures: one line that says what to do."""
    embeddings = str(world / "embeddings")
    out, other = str(tmp_path / "out"), str(world / "1.safetensors")
    assert "name it with --images or --texts" in fail(capsys, "encode", other, "--out", out)
    assert "name words, or an image" in fail(capsys, "search", embeddings)
    options = ["--checkpoint", other, "--merges", str(world / "merges.txt")]
    assert "expected the model that it was made with" in fail(capsys, "search", embeddings, "a", *options)
    merges = tmp_path / "other.txt"
    merges.write_bytes(dump_merges([*MERGES, ("a", "n")]))
    texts = tmp_path / "captions.txt"
    texts.write_text("a cat\n")
    words = ["--texts", str(texts), "--merges", str(merges), "--out", out]
    assert "expected a vocabulary of 515 ids" in fail(capsys, "encode", other, *words)
    assert "found 516" in fail(capsys, "encode", other, *words)
    (tmp_path / "empty").mkdir()
    assert "expected a folder of images or of shards" in fail(
        capsys, "encode", other, "--images", str(tmp_path / "empty"), "--out", out
    )
    assert "expected a folder that wit encode wrote" in fail(capsys, "search", str(tmp_path / "empty"), "a")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    assert "bad.png: expected an image, found not_image" in fail(capsys, "search", embeddings, "--image", str(bad))
    Image.new("RGB", (8, 8)).save(tmp_path / "empty" / "one.png")
    run("encode", other, "--images", str(tmp_path / "empty"), "--out", str(tmp_path / "images"))
    assert "expected embeddings of texts, found none" in fail(
        capsys, "search", str(tmp_path / "images"), "a", "--among", "texts"
    )
    config = tmp_path / "config.json"
    config.write_text("{}")
    assert "config.json" in fail(capsys, "encode", str(config), "--images", str(tmp_path / "empty"), "--out", out)


_AS_A_RANK = "import sys; from wit.cli import main; main(sys.argv[1:])"


def test_ranks_of_torchrun_share_one_folder(world: Path, tmp_path: Path) -> None:
    """Two processes at once, started as torchrun starts them, leave the very files that one leaves."""
    said = run_ranks(_AS_A_RANK, 2, encoding(world, tmp_path / "out"))
    assert any("21 images and 21 captions embedded\n" in each for each in said)
    for path in (world / "embeddings").rglob("*.*"):
        assert (tmp_path / "out" / path.relative_to(world / "embeddings")).read_bytes() == path.read_bytes()
