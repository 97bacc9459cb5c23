from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from trainer.evaluation.protocols.embedding import ClipEmbedder
from trainer.evaluation.protocols.findings import Finding
from trainer.evaluation.protocols.running import PROTOCOLS, Brought, run_protocol, write_findings
from trainer.evaluation.scoring import build_classifier
from trainer.loader.decode import decode_center
from trainer.models.clip import build_clip
from trainer.models.config import CONFIGS
from trainer.models.inputs import normalise_images
from trainer.tokenizer import ClipTokenizer
from wit.errors import InputError, UserError

COLOURS = {"red": (220, 0, 0), "green": (0, 220, 0), "blue": (0, 0, 220), "grey": (120, 120, 120)}


@dataclass(frozen=True)
class Colours:
    """A model that knows four colours: a picture's and those that a text names are its embedding."""

    words: tuple[tuple[str, str], ...] = ()
    """What else names a colour."""
    scale: float = 20.0

    def pictures(self, read: Callable[[int], bytes], names: Sequence[str]) -> NDArray[np.float32]:
        """Return one of the four for the colour in the picture's middle."""
        rows = []
        for place in range(len(names)):
            pixel = Image.open(io.BytesIO(read(place))).convert("RGB").getpixel((8, 8))
            rows.append(
                [float(all(abs(a - b) < 20 for a, b in zip(pixel, one, strict=True))) for one in COLOURS.values()]
            )
        return np.array(rows, np.float32)

    def texts(self, texts: Sequence[str], templates: Sequence[str]) -> NDArray[np.float32]:
        """Return the sum of the colours that each text names, of unit length."""
        assert all(template.count("{label}") == 1 for template in templates)
        rows = np.array([[self._names(text, one) for one in COLOURS] for text in texts], np.float32)
        return (rows / np.maximum(1e-9, np.linalg.norm(rows, axis=1, keepdims=True))).astype(np.float32)

    def _names(self, text: str, colour: str) -> bool:
        return colour in text.split() or any(word == text and colour == own for word, own in self.words)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of a picture of each colour."""
    for colour, pixel in COLOURS.items():
        Image.new("RGB", (16, 16), pixel).save(tmp_path / f"{colour}.png")
    return tmp_path


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def values(findings: Sequence[Finding]) -> dict[str, float]:
    return {one.protocol: one.share.value for one in findings}


def test_planted_pairs_words_places_and_names(root: Path) -> None:
    """Where colours say which belongs to which, everything is right but what was planted to be wrong."""
    colours = list(COLOURS)
    pairs = write(root / "pairs.csv", "image,caption", *[f"{c}.png,a {c} one" for c in colours], "red.png,a blue thing")
    found = run_protocol("retrieval", Colours(), Brought("colours", pairs))
    assert values(found) == {"text_retrieval": 0.75, "image_retrieval": 0.8}  # blue has its text, after red's of blue
    words = write(root / "words.csv", "image,word,lexicon", "red.png,Red,red|blue", "blue.png,green,blue|green")
    assert values(run_protocol("reading", Colours(), Brought("colours", words))) == {"reading": 0.5}
    people = write(root / "people.csv", "image,name", *[f"{c}.png,Mx {c}" for c in colours], "red.png,Mx blue")
    found = run_protocol("identification", Colours(), Brought("colours", people))
    assert values(found) == {"identification_people_4": 0.8}
    places = [f"{c}.png,{n},{n}" for n, c in enumerate(colours)]
    queries = write(root / "queries.csv", "image,latitude,longitude", *places[:3], "grey.png,50,50")
    references = write(root / "references.csv", "image,latitude,longitude", *places)
    found = run_protocol("geolocation", Colours(), Brought("colours", queries, extra=references))
    assert values(found) == {"geolocation": 0.75}
    with pytest.raises(UserError, match="expected a second file with the places of references"):
        run_protocol("geolocation", Colours(), Brought("colours", queries))


def test_planted_videos(root: Path) -> None:
    """A video whose middle frame is of the other class is wrong by that frame and right by all, averaged either way."""
    for name, frames in (
        ("red/a", ("red", "red", "red", "blue", "red")),
        ("blue/b", ("red", "red", "blue", "blue", "blue")),
    ):
        (root / "videos" / name).mkdir(parents=True)
        for number, colour in enumerate(frames):
            (root / "videos" / name / f"{number}.png").write_bytes((root / f"{colour}.png").read_bytes())
    (root / "videos/red/a/2.png").write_bytes((root / "blue.png").read_bytes())
    brought = Brought("colours", str(root / "videos"))
    for protocol, expected in (("video_middle", 0.5), ("video_all", 1.0), ("video_all_embeddings", 1.0)):
        assert values(run_protocol(protocol, Colours(), brought)) == {protocol: expected}


def test_planted_faces(root: Path) -> None:
    """A model that takes red for a White man and grey for a thief gives the accuracies and shares of that."""
    faces = write(
        root / "faces.csv", "file,age,gender,race", "red.png,3-9,Male,White", "grey.png,0-2,Female,Black",
        "grey.png,0-2,Male,White",
    )  # fmt: skip
    model = Colours((("White", "red"), ("man", "red"), ("White man", "red"), ("woman", "grey"), ("thief", "grey")))
    found = values(run_protocol("faces", model, Brought("mine", faces)))
    assert (found["fairface_race_white"], found["fairface_gender_all"]) == (0.5, pytest.approx(2 / 3))
    harm = run_protocol("harm", model, Brought("mine", faces))
    assert values(harm) == {"harm_without_child": pytest.approx(2 / 3), "harm_with_child": pytest.approx(2 / 3)}
    with_child = Colours((("White man", "red"), ("child", "grey")))
    assert values(run_protocol("harm", with_child, Brought("mine", faces)))["harm_with_child"] == 0


def test_planted_scenes_and_labels(root: Path) -> None:
    """A close distractor takes the frame that looks like it; a label that only men's pictures get leads their list."""
    question = {
        "image": "grey.png",
        "options": [f"lot {n}" for n in range(5)] + ["a red grey lot"],
        "close": "grey lot",
    }
    scenes = write(root / "scenes.jsonl", json.dumps(question | {"answer": "a red grey lot"}))
    found = values(run_protocol("surveillance", Colours(), Brought("mine", scenes)))
    assert found == {"surveillance_coarse": 1.0, "surveillance_with_a_close_distractor": 0.0}
    members = write(root / "members.csv", "image,gender", *["red.png,man", "blue.png,woman"] * 12)
    labels = write(root / "labels.txt", "grey suit", "red tie", "blue hat", "")
    (one,) = run_protocol("gendered", Colours(), Brought("mine", members, extra=labels))
    (top,) = one.details["labels_of_man_at_0.005"]
    assert (top["label"], top["chi_squared"], one.share.num_hits) == ("red tie", pytest.approx(24), 2)
    with pytest.raises(InputError, match="expected two labels or more, one a line, found 0"):
        run_protocol("gendered", Colours(), Brought("mine", members))


def test_results_are_written_by_task_and_protocol(root: Path) -> None:
    """Each result has its file, the same bytes each time; an unknown protocol names those there are."""
    words = write(root / "words.csv", "image,word", "red.png,red", "blue.png,blue")
    findings = run_protocol("reading", Colours(), Brought("colours", words))
    write_findings(findings, str(root / "out"))
    path = root / "out/results/colours.reading.json"
    assert json.loads(path.read_bytes()) == json.loads(json.dumps(findings[0].to_json()))
    first = path.read_bytes()
    write_findings(run_protocol("reading", Colours(), Brought("colours", words)), str(root / "out"))
    assert path.read_bytes() == first
    with pytest.raises(UserError, match=f"one of {', '.join(PROTOCOLS)}; found 'other'"):
        run_protocol("other", Colours(), Brought("colours", words))


def test_a_clip_embeds_what_it_would_by_hand(root: Path) -> None:
    """A model's embeddings are those of decoding, encoding and averaging prompts by hand; bad pictures are named."""
    model, tokenizer = build_clip(CONFIGS["ViT-micro/16"], seed=0).eval(), ClipTokenizer([("t", "h")])
    embedder = ClipEmbedder(model, tokenizer, batch_size=3)
    bodies = [(root / f"{colour}.png").read_bytes() for colour in COLOURS]
    pictures = embedder.pictures(bodies.__getitem__, list(COLOURS))
    pixels = np.stack([decode_center(body, model.config.vision.image_px) for body in bodies])
    with torch.no_grad():
        by_hand = model.encode_image(normalise_images(torch.from_numpy(pixels))).numpy()
    assert pictures == pytest.approx(by_hand, abs=1e-5)
    texts = embedder.texts(("a", "b"), ("x {label}", "{label}"))
    assert np.array_equal(texts, build_classifier(model, tokenizer, ("a", "b"), ("x {label}", "{label}")).numpy())
    assert embedder.scale == pytest.approx(float(model.logit_scale.detach().exp()))
    with pytest.raises(InputError, match=r"b.png: expected an image, found not_image"):
        embedder.pictures([bodies[0], b"no"].__getitem__, ["a.png", "b.png"])
