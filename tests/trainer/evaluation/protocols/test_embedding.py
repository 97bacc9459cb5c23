from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support import ROOT
from tests.trainer.ranks import run_ranks
from trainer.evaluation.protocols.embedding import ClipEmbedder
from trainer.evaluation.protocols.units import Opened, Unit, picture
from trainer.evaluation.scoring import prompt_means
from trainer.loader.decode import decode_center
from trainer.models.clip import build_clip
from trainer.models.config import CONFIGS
from trainer.models.inputs import normalise_images
from trainer.tokenizer import ClipTokenizer
from wit.errors import InputError

MODEL = build_clip(CONFIGS["ViT-micro/16"], seed=0).eval()
TOKENIZER = ClipTokenizer([("t", "h")])


@dataclass(frozen=True)
class Counted:
    """Counts the units whose pictures were read to be embedded."""

    seen: list[str]

    def unit(self, url: str) -> Unit:
        """Return the picture's unit, counting."""
        plain = picture(url).open

        def opened() -> Opened:
            one = plain()
            return replace(one, pictures=lambda: (self.seen.append(url), *one.pictures())[1:])

        return Unit(url, opened)


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    """Return seven pictures, each with noise of its own."""
    rng = np.random.default_rng(0)
    for number in range(7):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(tmp_path / f"{number}.png")
    return [str(tmp_path / f"{number}.png") for number in range(7)]


def by_hand(urls: Sequence[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    pixels = np.stack([decode_center(Path(url).read_bytes(), MODEL.config.vision.image_px) for url in urls])
    with torch.no_grad():
        return MODEL.encode_image(normalise_images(torch.from_numpy(pixels))).numpy()


@pytest.mark.parametrize("part_units", [1, 3, 256])
@pytest.mark.parametrize("batch_size", [2, 256])
def test_embeddings_are_those_by_hand(urls: list[str], part_units: int, batch_size: int) -> None:
    """In the order of the units, whatever is embedded together; a unit of several pictures has a row of each."""
    embedder = ClipEmbedder(MODEL, TOKENIZER, batch_size=batch_size)
    bodies = [Path(url).read_bytes() for url in urls]
    several = Unit("several", lambda: Opened("", lambda: iter(bodies[2:6])))
    units = [picture(urls[0]), several, picture(urls[6])]
    rows = [each.rows_FD for each in embedder.embed(units, part_units)]
    assert [len(each) for each in rows] == [1, 4, 1]
    assert np.concatenate(rows) == pytest.approx(by_hand([urls[0], *urls[2:]]), abs=1e-5)
    prompts = [["a", "x a"], ["b"]]
    assert np.array_equal(embedder.texts(prompts), prompt_means(MODEL, TOKENIZER, prompts).numpy())
    assert embedder.scale == pytest.approx(float(MODEL.logit_scale.detach().exp()))


def test_what_is_kept_is_not_embedded_again(tmp_path: Path, urls: list[str]) -> None:
    """The same pictures of another command are read from the cache; a changed one, or other weights, are not."""
    counted = Counted([])
    embedder = ClipEmbedder(MODEL, TOKENIZER, str(tmp_path / "cache"))

    def embed(one: ClipEmbedder) -> tuple[list[list[float]], int]:
        counted.seen.clear()
        rows = [each.rows_FD[0].tolist() for each in one.embed([counted.unit(url) for url in urls], 2)]
        return rows, len(counted.seen)

    first, num_read = embed(embedder)
    assert num_read == 7
    assert embed(embedder) == (first, 0)
    Path(urls[4]).write_bytes(Path(urls[0]).read_bytes())
    changed, num_read = embed(embedder)
    assert num_read == 2, "the part of the changed picture"
    assert changed[4] == pytest.approx(first[0], abs=1e-5)
    other = replace(embedder, model=build_clip(CONFIGS["ViT-micro/16"], seed=1).eval())
    assert embed(other)[1] == 7
    texts = embedder.texts([["the"], ["b"]])
    assert np.array_equal(embedder.texts([["the"], ["b"]]), texts)
    others = replace(embedder, tokenizer=ClipTokenizer([("t", "t")])).texts([["the"], ["b"]])
    assert not np.array_equal(others, texts), "another vocabulary makes other tokens of the same text"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda path: path.write_bytes(b"no picture"), "not_image"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "corrupt_image"),
        (lambda path: path.unlink(), "unreadable"),
    ],
)
def test_what_is_broken_has_a_reason_until_it_is_mended(
    tmp_path: Path, urls: list[str], fault: Callable[[Path], object], reason: str
) -> None:
    """The others have their embeddings, and the broken one has its own as soon as it is mended."""
    embedder = ClipEmbedder(MODEL, TOKENIZER, str(tmp_path / "cache"))
    body = Path(urls[1]).read_bytes()
    fault(Path(urls[1]))
    found = list(embedder.embed([picture(url) for url in urls]))
    assert [each.reason for each in found] == ["", reason, *[""] * 5]
    counted = Counted([])
    assert list(map(str, embedder.embed([counted.unit(url) for url in urls]))) == list(map(str, found))
    assert len(counted.seen) == (6 if reason == "unreadable" else 0), "what is wrong with a file is kept"
    Path(urls[1]).write_bytes(body)
    mended = np.concatenate([each.rows_FD for each in embedder.embed([picture(url) for url in urls])])
    assert mended == pytest.approx(by_hand(urls), abs=1e-5)


def test_a_unit_with_one_broken_picture_is_broken(urls: list[str]) -> None:
    """A video of which one frame cannot be decoded, or that breaks off, gives no embedding; its neighbours do."""
    body = Path(urls[0]).read_bytes()

    def breaks_off() -> object:
        yield body
        raise InputError("clip.mp4: cut")

    units = [picture(urls[0]), Unit("a", lambda: Opened("", lambda: [body, b"no", body])),
             Unit("b", lambda: Opened("", breaks_off)), picture(urls[1])]  # type: ignore[arg-type, return-value]  # fmt: skip
    for batch_size in (1, 2, 256):
        found = list(ClipEmbedder(MODEL, TOKENIZER, batch_size=batch_size).embed(units))
        assert [each.reason for each in found] == ["", "not_image", "unreadable", ""]
        assert found[2].detail == "clip.mp4: cut"
        assert found[3].rows_FD == pytest.approx(by_hand([urls[1]]), abs=1e-5)


def test_a_file_that_is_no_cache_is_named(tmp_path: Path, urls: list[str]) -> None:
    """Kept embeddings that are cut off, or of another number, are one line with the file and what to do."""
    embedder = ClipEmbedder(MODEL, TOKENIZER, str(tmp_path / "cache"))
    list(embedder.embed([picture(urls[0])]))
    (part,) = (tmp_path / "cache").rglob("*.safetensors")
    body = part.read_bytes()
    part.write_bytes(body[: len(body) // 2])
    with pytest.raises(InputError, match=part.name):
        list(embedder.embed([picture(urls[0])]))
    part.unlink()
    list(embedder.embed([picture(url) for url in urls[:2]]))
    (other,) = (tmp_path / "cache").rglob("*.safetensors")
    other.rename(part)
    with pytest.raises(InputError, match=rf"{part.name}: expected kept embeddings of 1 items, found others; remove it"):
        list(embedder.embed([picture(urls[0])]))


RANKS = """
import sys, torch
from trainer.evaluation.protocols.embedding import ClipEmbedder
from trainer.evaluation.protocols.units import picture
from trainer.models.clip import build_clip
from trainer.models.config import CONFIGS
from trainer.parallel.ranks import find_ranks, joined
from trainer.tokenizer import ClipTokenizer
torch.set_num_threads(1)
ranks = find_ranks()
with joined(ranks, torch.device("cpu")):
    embedder = ClipEmbedder(build_clip(CONFIGS["ViT-micro/16"], seed=0).eval(), ClipTokenizer([("t", "h")]), "", ranks)
    found = list(embedder.embed([picture(url) for url in sys.argv[1:]], 2))
    texts = embedder.texts([["a"], ["b"], ["c"]])
print([each.reason for each in found], [round(float(x), 4) for each in found for x in each.rows_FD.flatten()[:3]],
      texts.shape)
"""


def test_ranks_share_the_units(urls: list[str]) -> None:
    """Two ranks get the same, in order, what cannot be read too; and it is what one alone gets."""
    Path(urls[3]).write_bytes(b"no picture")
    outputs = run_ranks(RANKS, 2, urls)
    assert outputs[0] == outputs[1]
    assert outputs[0].startswith("['', '', '', 'not_image', '', '', '']")
    own = [round(float(value), 4) for row in by_hand([*urls[:3], *urls[4:]]) for value in row[:3]]
    numbers = [float(text) for text in outputs[0].split("[")[2].split("]")[0].split(",")]
    assert numbers == pytest.approx(own, abs=2e-4)


KILLED = """
import sys, time
from tests.trainer.evaluation.protocols.test_embedding import MODEL, TOKENIZER, Counted
from trainer.evaluation.protocols.embedding import ClipEmbedder
from trainer.evaluation.protocols.units import Opened, Unit
counted = Counted([])
cache, wait, urls = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
for place, each in enumerate(ClipEmbedder(MODEL, TOKENIZER, cache).embed([counted.unit(url) for url in urls], 2)):
    print(place, len(counted.seen), flush=True)
    if place == 5:
        time.sleep(wait)
"""


def test_a_killed_command_goes_on(tmp_path: Path, urls: list[str]) -> None:
    """What was embedded before a kill -9 is there; the next run reads the rest alone, and both give the same."""
    command = [sys.executable, "-c", KILLED, str(tmp_path / "cache")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*command, "60", *urls], env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("5"):
                process.send_signal(signal.SIGKILL)
                break
    again = subprocess.run([*command, "0", *urls], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert again.stdout.splitlines()[-1] == "6 1", "three parts are kept, the last picture is embedded"
