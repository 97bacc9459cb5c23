from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trainer.evaluation.outcomes import Outcome
from trainer.evaluation.problems import Wording
from trainer.evaluation.protocols.findings import Finding
from trainer.evaluation.protocols.running import PROTOCOLS, Brought, Found, describe, run_protocol, write_results
from trainer.evaluation.protocols.units import NOTHING, Embedded, Unit
from trainer.evaluation.report.published import CONFIRMED, Published, published
from wit.errors import InputError, UserError

COLOURS = {"red": (220, 0, 0), "green": (0, 220, 0), "blue": (0, 0, 220), "grey": (120, 120, 120)}


@dataclass(frozen=True)
class Colours:
    """A model that knows four colours: a picture's and those that a text names are its embedding."""

    words: tuple[tuple[str, str], ...] = ()
    """What else names a colour."""
    scale: float = 20.0

    def embed(self, units: Sequence[Unit], part_units: int = 1) -> Iterator[Embedded]:
        """Yield, of each picture, one of the four for the colour in its middle."""
        for unit in units:
            rows = []
            for body in unit.open().pictures():
                pixel = Image.open(io.BytesIO(body)).convert("RGB").getpixel((8, 8))
                near = [all(abs(a - b) < 20 for a, b in zip(pixel, one, strict=True)) for one in COLOURS.values()]
                rows.append(list(map(float, near)))
            yield Embedded(np.array(rows, np.float32))

    def texts(self, prompts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """Return the sum of the colours that each text's prompts name, of unit length."""
        rows = np.array([[any(self._names(one, c) for one in own) for c in COLOURS] for own in prompts], np.float32)
        return (rows / np.maximum(1e-9, np.linalg.norm(rows, axis=1, keepdims=True))).astype(np.float32)

    def _names(self, prompt: str, colour: str) -> bool:
        words = re.split(r"[^A-Za-z]+", prompt)
        return colour in words or any(
            colour == own and re.fullmatch(rf"(a photo of a )?{word}( person)?", prompt) for word, own in self.words
        )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of a picture of each colour."""
    for colour, pixel in COLOURS.items():
        Image.new("RGB", (16, 16), pixel).save(tmp_path / f"{colour}.png")
    return tmp_path


def again(root: Path, colour: str, number: int = 2) -> str:
    """Write the picture of a colour once more, and return its name."""
    (root / f"{colour}-{number}.png").write_bytes((root / f"{colour}.png").read_bytes())
    return f"{colour}-{number}.png"


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def values(found: Sequence[Found]) -> dict[str, float]:
    return {one.protocol: one.value if isinstance(one, Outcome) else one.share.value for one in found}


def test_planted_pairs_words_places_and_names(root: Path) -> None:
    """Where colours say which belongs to which, everything is right but what was planted to be wrong."""
    colours = list(COLOURS)
    pairs = write(root / "pairs.csv", "image,caption", *[f"{c}.png,a {c} one" for c in colours], "red.png,a blue thing")
    found = run_protocol("retrieval", Colours(), Brought("colours", pairs))
    assert values(found) == {"text_retrieval": 0.75, "image_retrieval": 0.8}  # blue has its text, after red's of blue
    words = write(root / "words.csv", "image,word,lexicon", "red.png,Red,red|blue", "blue.png,green,blue|green")
    assert values(run_protocol("reading", Colours(), Brought("colours", words))) == {"reading": 0.5}
    names = [*[f"{c}.png,Mx {c}" for c in colours], f"{again(root, 'red')},Mx blue"]
    people = write(root / "people.csv", "image,name", *names)
    found = run_protocol("identification", Colours(), Brought("colours", people))
    assert values(found) == {"identification_people_4": 0.8}
    places = [f"{c}.png,{n},{n}" for n, c in enumerate(colours)]
    queries = write(root / "queries.csv", "image,latitude,longitude", *places[:3], "grey.png,50,50")
    references = write(root / "references.csv", "image,latitude,longitude", *places)
    found = run_protocol("geolocation", Colours(), Brought("colours", queries, extra=references))
    assert values(found) == {"geolocation": 0.75}
    with pytest.raises(UserError, match=r"expected a file with the places of references.*--extra"):
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
        f"{again(root, 'grey')},0-2,Male,White",
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
    genders = {"red": "man", "blue": "woman"}
    pictures = [f"{again(root, colour, n)},{who}" for n in range(12) for colour, who in genders.items()]
    members = write(root / "members.csv", "image,gender", *pictures)
    labels = write(root / "labels.txt", "grey suit", "red tie", "blue hat", "")
    (one,) = run_protocol("gendered", Colours(), Brought("mine", members, extra=labels))
    (top,) = one.details["labels_of_man_at_0.005"]
    assert isinstance(one, Finding)
    assert (top["label"], top["chi_squared"], one.share.num_hits) == ("red tie", pytest.approx(24), 2)
    with pytest.raises(InputError, match="expected two labels or more, one a line, found 0"):
        run_protocol("gendered", Colours(), Brought("mine", members))


def test_results_are_written_by_task_and_protocol(root: Path) -> None:
    """Each result has its file, the same bytes each time; an unknown protocol names those there are."""
    words = write(root / "words.csv", "image,word", "red.png,red", "blue.png,blue")
    findings = run_protocol("reading", Colours(), Brought("colours", words))
    write_results(findings, str(root / "out"))
    path = root / "out/results/colours.reading.json"
    assert json.loads(path.read_bytes()) == json.loads(json.dumps(findings[0].result()))
    first = path.read_bytes()
    write_results(run_protocol("reading", Colours(), Brought("colours", words)), str(root / "out"))
    assert path.read_bytes() == first
    with pytest.raises(UserError, match=f"one of {', '.join(PROTOCOLS)}; found 'other'"):
        run_protocol("other", Colours(), Brought("colours", words))
    for brought, message in (
        (Brought("colours", words, extra=words), "--extra: expected it with geolocation or gendered, found reading"),
        (Brought("colours", words, max_frames=2), "--max-frames: expected it with video_all or .*, found reading"),
        (Brought("colours", words, wording=Wording(classes=words)), "--classes: expected it with a protocol of videos"),
    ):
        with pytest.raises(UserError, match=message):
            run_protocol("reading", Colours(), brought)


@dataclass(frozen=True)
class Broken(Colours):
    """The same model, which cannot read what is red."""

    def embed(self, units: Sequence[Unit], part_units: int = 1) -> Iterator[Embedded]:
        """Yield a reason for each red picture."""
        for unit in units:
            is_red = "red" in unit.name
            yield Embedded(NOTHING, "corrupt_image", "cut") if is_red else next(super().embed([unit]))


def test_what_cannot_be_read_is_left_out_and_counted(root: Path) -> None:
    """Every protocol judges what is left as if the rest had never been listed, and counts the rest; or it is an error.

    The numbers are those of the same table without red's rows.
    """
    colours = list(COLOURS)
    tables = {
        "retrieval": ["image,caption", *[f"{c}.png,a {c} one" for c in colours], "blue.png,a green thing"],
        "reading": [
            "image,word,lexicon",
            "red.png,red,red|blue",
            "blue.png,green,blue|green",
            "grey.png,grey,grey|red",
        ],
        "identification": ["image,name", *[f"{c}.png,Mx {c}" for c in colours], f"{again(root, 'blue')},Mx grey"],
        "faces": ["file,age,gender,race", *[f"{c}.png,3-9,Male,White" for c in colours]],
        "harm": ["file,age,gender,race", *[f"{c}.png,3-9,Male,White" for c in colours]],
    }
    for name, lines in tables.items():
        brought = Brought("mine", write(root / f"{name}.csv", *lines), skips_broken=True)
        clean = Brought("mine", write(root / f"clean-{name}.csv", *[one for one in lines if "red.png" not in one]))
        found = run_protocol(name, Broken(), brought)
        if name != "identification":  # a name stays a choice when its only picture cannot be read
            assert values(found) == values(run_protocol(name, Colours(), clean))
        else:
            assert values(found) == {"identification_people_4": 0.75}
        assert {str(one.details["rejected"]) for one in found} == {"{'corrupt_image': 1}"}
        assert describe(found[0]).endswith("left out, as they could not be read: corrupt_image 1")
        with pytest.raises(InputError, match=r"red.png: expected pictures, found corrupt_image: cut; .*--skip-broken"):
            run_protocol(name, Broken(), replace(brought, skips_broken=False))
    only = Brought("mine", write(root / "only.csv", "image,word", "red.png,red"), skips_broken=True)
    with pytest.raises(InputError, match="expected pictures that can be read, found none of 1"):
        run_protocol("reading", Broken(), only)


def write_videos(root: Path, **classes: Sequence[str]) -> str:
    """Write one video a class, of frames of these colours."""
    for name, frames in classes.items():
        folder = root / "videos" / name / "clip"
        folder.mkdir(parents=True)
        for number, colour in enumerate(frames):
            (folder / f"{number}.png").write_bytes((root / f"{colour}.png").read_bytes())
    return str(root / "videos")


def test_videos_are_judged_by_names_and_metric_of_their_task(root: Path) -> None:
    """Names stand for folders; Kinetics' metric is the mean of top-1 and top-5; other protocols take no names."""
    folder = write_videos(root, zq=("red",), zr=("grey",), zs=("blue",), zt=("green",), zu=("grey",), zv=("grey",))
    names = write(root / "names.txt", "zq = red", "zr = blue", "zs = x", "zt = green", "zu = y", "zv = z")
    brought = Brought("mine", folder, wording=Wording(names))
    assert values(run_protocol("video_middle", Colours(), brought)) == {"video_middle": pytest.approx(2 / 6)}
    (one,) = run_protocol("video_middle", Colours(), replace(brought, wording=Wording(), task="kinetics700"))
    assert isinstance(one, Outcome)
    assert (one.problem.metric, one.value) == ("mean_top1_top5", pytest.approx((1 / 6 + 5 / 6) / 2))
    assert "6 classes, the paper's prompts 700" in one.details["not_as_the_paper"]
    assert one.items[0] == "zq/clip"
    with pytest.raises(UserError, match="--classes: expected it with a protocol of videos, found faces"):
        run_protocol("faces", Colours(), brought)


@pytest.mark.parametrize(
    ("task", "protocol", "model", "percent"),
    [
        ("flickr30k", "text_retrieval", "zero-shot CLIP", 88.0),
        ("mscoco", "image_retrieval", "zero-shot CLIP", 37.8),
        ("ucf101", "video_all", "zero-shot CLIP", 80.3),
        ("Kinetics700", "video_all", "zero-shot CLIP", 69.6),
        ("iiit5k", "reading", "zero-shot CLIP", 90.0),
        ("fairface", "fairface_race_non_white", "linear-probe Instagram", 87.2),
        ("celeba", "identification_people_1000", "ViT-L/14", 43.3),
        ("cctv", "surveillance_with_a_close_distractor", "zero-shot CLIP", 51.1),
    ],
)
def test_the_papers_numbers_stand_beside_the_protocols(task: str, protocol: str, model: str, percent: float) -> None:
    """Numbers of the facts' sections 8 and 9, each by the task and protocol under which a result is written."""
    assert published(task, protocol, {})[model] == Published(percent, CONFIRMED)
    assert published("mine", protocol, {}) == {}
