"""Zero-shot, few-shot and linear probe on real images: a checkpoint trained here, and one that is not trained at all.

    python -m benchmarks.evaluation DATA OUT [--epochs 15] [--model ViT-tiny/8] [--peak 1e-3] > result.md

DATA holds `cifar10/cifar10-test-10000.tar` (CIFAR-10's test images as test/CLASS/0000.jpg to 0999.jpg) and
`caltech101/CLASS/*.jpg`; `--photos` may name a folder with `coco-mini` and `openstax-introduction-anthropology`, whose
captioned photos are trained on too. All runs through wit's own commands, as a user gives them:

  pairs        half of each class of CIFAR-10, captioned with its name in one of CAPTIONS: a tar, `wit shards index`
  checkpoints  `wit train tiny` on the pairs; and the same shapes with the weights they begin with
  sets         the other half of CIFAR-10, halved again into train and test; Caltech-101 5 images a class to 3
  evaluation   `wit evaluate --compare-prompts --probe --shots` of both on both sets; `wit evaluate-report`

Beside these, a probe of what needs no network: pictures of 8 x 8 px, and the mean and deviation of each colour. Then
the same features and splits are given to scikit-learn, by the same search. OUT keeps everything; what is there is not
made again. Prints Markdown.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression

from benchmarks.machine import describe
from benchmarks.probe import scikit_fit, scikit_probe
from trainer.evaluation.features import Embedding, embed_set
from trainer.evaluation.metrics import accuracy
from trainer.evaluation.probe import Labelled, Splits, probe
from trainer.evaluation.sets import open_set, open_split
from trainer.interchange.reading import read_model
from trainer.interchange.writing import write_openai
from trainer.loader.index import read_index
from trainer.models.build import build_model
from trainer.saving import checkpoint

CAPTIONS = (
    "a photo of a {label}",
    "a {label}",
    "a small picture of a {label}",
    "this is a {label}",
    "a {label} in the middle of a photo",
)
UNSEEN = ("one {label}, seen from the side", "look at the {label}")
"""Templates of the evaluation that no caption has."""
SHOTS = "1,2,4,8,16"
CIFAR_PARTS = {"pairs": range(500), "train": range(500, 750), "test": range(750, 1_000)}
"""Numbers of a class's images. They are in CIFAR-10's order, which is at random."""
CALTECH_TRAIN = 5
SETS = ("cifar10", "caltech101")
CHECKPOINTS = ("trained", "random")

Made = TypeVar("Made")


def main() -> None:
    """Make what is missing in OUT, and print what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=Path, help="folder of captioned photos")
    parser.add_argument("--model", default="ViT-tiny/8")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--peak", type=float, default=1e-3, help="peak learning rate")
    given = parser.parse_args()
    torch.set_num_threads(1)
    work = Work(given.out)
    work.once("sets", lambda folder: make_sets(given.data, folder))
    work.once("pairs", lambda folder: make_pairs(given.data, given.photos, folder))
    seconds = train(work, given)
    write_random(work)
    for name in CHECKPOINTS:
        evaluate(work, name)
    wit(
        work,
        "evaluate-report",
        *(str(work.out / f"eval-{name}") for name in CHECKPOINTS),
        "--out",
        str(work.out / "page"),
    )
    print("\n".join(report(work, given, seconds)))


@dataclass(frozen=True)
class Work:
    """The folder of a run of this script."""

    out: Path

    def once(self, name: str, make: Callable[[Path], None]) -> None:
        """Make a folder unless it is there; it has its name when it is whole."""
        folder, next_one = self.out / name, self.out / f"{name}.next"
        if not folder.exists():
            shutil.rmtree(next_one, ignore_errors=True)
            next_one.mkdir(parents=True)
            make(next_one)
            next_one.rename(folder)


def wit(work: Work, *words: str) -> None:
    """Run a command of wit; what it prints goes to OUT/commands.log, its errors and progress through."""
    with (work.out / "commands.log").open("a") as log:
        print("$ wit", *words, file=log, flush=True)
        subprocess.run([sys.executable, "-m", "wit", *words], check=True, stdout=log)


def make_sets(data: Path, folder: Path) -> None:
    """Write train/ and test/ of both sets, a folder a class."""
    for path, body in cifar(data):
        part = next(name for name, numbers in CIFAR_PARTS.items() if int(path.stem) in numbers)
        if part != "pairs":
            write(folder / "cifar10" / part / path.parent.name / path.name, body)
    for place in sorted((data / "caltech101").iterdir()):
        for number, image in enumerate(sorted(place.glob("*.jpg"))):
            part = "train" if number < CALTECH_TRAIN else "test"
            write(folder / "caltech101" / part / place.name / image.name, image.read_bytes())


def cifar(data: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield test/CLASS/NUMBER.jpg and the bytes of all images."""
    with tarfile.open(data / "cifar10" / "cifar10-test-10000.tar") as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None:
                yield Path(member.name), file.read()


def write(path: Path, body: bytes) -> None:
    """Write a file, and the folder that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


def make_pairs(data: Path, photos: Path | None, folder: Path) -> None:
    """Write a tar of images and captions, and its index."""
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for key, image, caption in [*cifar_pairs(data), *(photo_pairs(photos) if photos else ())]:
            for name, body in ((f"{key}.jpg", image), (f"{key}.txt", caption.encode())):
                facts = tarfile.TarInfo(name)
                facts.size = len(body)
                tar.addfile(facts, io.BytesIO(body))
    subprocess.run([sys.executable, "-m", "wit", "shards", "index", str(folder)], check=True, stdout=sys.stderr)


def cifar_pairs(data: Path) -> Iterator[tuple[str, bytes, str]]:
    """Yield key, image and caption of half of CIFAR-10, whose template is drawn by a hash of the key."""
    for path, body in cifar(data):
        label = path.parent.name
        if int(path.stem) in CIFAR_PARTS["pairs"]:
            key = f"cifar10-{label}-{path.stem}"
            drawn = int.from_bytes(blake2b(key.encode(), digest_size=8).digest()) % len(CAPTIONS)
            yield key, body, CAPTIONS[drawn].replace("{label}", label)


def photo_pairs(photos: Path) -> Iterator[tuple[str, bytes, str]]:
    """Yield key, image and caption of COCO's photos, each under five captions, and of a textbook's."""
    coco = photos / "coco-mini"
    for note in json.loads((coco / "captions_train2017.json").read_text())["annotations"]:
        image = coco / "train2017" / f"{note['image_id']:012d}.jpg"
        yield f"coco-{note['id']}", image.read_bytes(), note["caption"].strip()
    book = photos / "openstax-introduction-anthropology"
    for number, line in enumerate((book / "pairs.jsonl").read_text().splitlines()):
        pair = json.loads(line)
        if pair["file"].endswith(".jpg"):
            yield f"openstax-{number:04d}", (book / pair["file"]).read_bytes(), pair["alt"]


def train(work: Work, given: argparse.Namespace) -> float:
    """Train on the pairs, if that is not done; return the seconds that it took."""
    told = work.out / "training.json"
    if not told.exists():
        changes = {
            "model.name": given.model, "run.epochs": given.epochs, "data.resize_px": 54,
            "optimiser.learning_rate": given.peak,
        }  # fmt: skip
        words = [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]
        started = time.perf_counter()
        wit(work, "train", "tiny", "--shards", str(work.out / "pairs"), "--out", str(work.out / "trained"), *words)
        told.write_text(json.dumps({"seconds": time.perf_counter() - started}))
    return float(json.loads(told.read_text())["seconds"])


def write_random(work: Work) -> None:
    """Write a file of weights of the same shapes, as a model begins with."""
    path = work.out / "random.safetensors"
    if not path.exists():
        config = read_model(str(work.out / "trained"))[0].config
        write_openai(str(path), build_model(config, seed=1))


def vocabulary(work: Work) -> str:
    """Return the file of merges that both checkpoints have."""
    return str(Path(checkpoint.find(str(work.out / "trained")), checkpoint.TOKENIZER))


def evaluate(work: Work, name: str) -> None:
    """Evaluate a checkpoint on both sets by every protocol, if that is not done."""
    out = work.out / f"eval-{name}"
    if (out / "results" / "Caltech101.few_shot.json").exists():
        return
    templates = work.out / "templates.txt"
    templates.write_text("\n".join(CAPTIONS + UNSEEN) + "\n")
    given = [str(work.out / "trained")] if name == "trained" else [str(work.out / "random.safetensors")]
    given += [] if name == "trained" else ["--merges", vocabulary(work)]
    for one in SETS:
        given += ["--data", f"{one}={work.out / 'sets' / one}"]
    asked = ["--templates", str(templates), "--compare-prompts", "--probe", "--shots", SHOTS]
    wit(work, "evaluate", *given, *asked, "--out", str(out))


def report(work: Work, given: argparse.Namespace, seconds: float) -> Iterator[str]:
    """Yield the lines of the result."""
    yield describe("torch", "scikit-learn")
    yield ""
    num_pairs = len(read_index(str(work.out / "pairs")))
    yield f"Training: {num_pairs:,} pairs, {given.model}, {given.epochs} epochs, {seconds:.0f} s with the start."
    yield ""
    yield from values(work)
    yield ""
    yield from prompts(work)
    yield ""
    yield from few_shots(work)
    yield ""
    yield from beside_scikit(work)


def result(work: Work, name: str, task: str, protocol: str) -> Mapping[str, Any]:
    """Return what `wit evaluate` wrote."""
    path = work.out / f"eval-{name}" / "results" / f"{task}.{protocol}.json"
    found: Mapping[str, Any] = json.loads(path.read_text())
    return found


TASKS = {"cifar10": "CIFAR10", "caltech101": "Caltech101"}
"""What the results of each set are called."""


def values(work: Work) -> Iterator[str]:
    """Yield zero-shot and probe of both checkpoints on both sets, with intervals."""
    yield "| set | metric, chance | checkpoint | zero-shot % | linear probe % | labels a class to match zero-shot |"
    yield "|---|---|---|---:|---:|---:|"
    for task in TASKS.values():
        for name in CHECKPOINTS:
            zero, probed, few = (result(work, name, task, each) for each in ("zero_shot", "linear_probe", "few_shot"))
            match = few["details"]["labels_to_match_zero_shot"]
            metric = f"{zero['metric']}, {100 * zero['chance']:.1f} %"
            yield f"| {task} | {metric} | {name} | {told(zero)} | {told(probed)} | {match} |"


def told(row: Mapping[str, Any]) -> str:
    """Return a value and its interval in percent."""
    low, high = row["interval"]
    return f"{100 * row['value']:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def prompts(work: Work) -> Iterator[str]:
    """Yield what prompts are worth to the trained checkpoint."""
    yield "| prompts, trained checkpoint | CIFAR10 % | Caltech101 % |"
    yield "|---|---:|---:|"
    rows = [result(work, "trained", task, "zero_shot")["details"]["prompts"] for task in TASKS.values()]
    for first, second in zip(*rows, strict=True):
        yield f"| {first['prompts'].partition(':')[0]} | {100 * first['value']:.1f} | {100 * second['value']:.1f} |"


def few_shots(work: Work) -> Iterator[str]:
    """Yield the curves of few shots."""
    yield "| few-shot %, deviation of 3 draws | checkpoint | 1 | 2 | 4 | 8 | 16 |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for task in TASKS.values():
        for name in CHECKPOINTS:
            curve = {one["shots"]: one for one in result(work, name, task, "few_shot")["details"]["curve"]}
            cells = [
                f"{100 * curve[shots]['value']:.1f} ± {100 * curve[shots]['deviation']:.1f}" if shots in curve else ""
                for shots in map(int, SHOTS.split(","))
            ]
            yield f"| {task} | {name} | {' | '.join(cells)} |"


def beside_scikit(work: Work) -> Iterator[str]:
    """Yield probes of the same features by us and by scikit-learn: accuracy, chosen strength, seconds.

    The last columns are of scikit-learn at the strength that ours has chosen: by default, and to its optimum.
    """
    yield "| set | features | width | ours % | strength | s | scikit-learn % | strength | s | same answers %, optimum |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for one in SETS:
        for name, splits in feature_splits(work, one):
            ours, ours_s = timed(partial(probe, splits, accuracy))
            (value, strength), theirs_s = timed(partial(scikit_probe, splits))
            assert splits.validation is not None
            whole = splits.train.join(splits.validation)
            fits = (scikit_fit(whole, ours.strength), scikit_optimum(whole, ours.strength))
            test = np.asarray(splits.test.features)
            same = [float((fit.predict(test) == ours.scores.argmax(axis=1)).mean()) for fit in fits]
            cells = [one, name, splits.train.features.shape[1]]
            cells += [f"{100 * ours.value:.1f}", f"{ours.strength:.2g}", f"{ours_s:.2f}"]
            cells += [
                f"{100 * value:.1f}",
                f"{strength:.2g}",
                f"{theirs_s:.2f}",
                ", ".join(f"{100 * one:.1f}" for one in same),
            ]
            yield f"| {' | '.join(map(str, cells))} |"


def scikit_optimum(items: Labelled, strength: float) -> LogisticRegression:
    """Return scikit-learn's regression in double precision, to a gradient of 1e-7."""
    features = np.asarray(items.features, np.float64)
    return LogisticRegression(C=1 / strength, max_iter=100_000, tol=1e-7).fit(features, items.labels)


def timed(work: Callable[[], Made]) -> tuple[Made, float]:
    """Return what a call returns, and its seconds of the wall."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def feature_splits(work: Work, one: str) -> Iterator[tuple[str, Splits]]:
    """Yield features of a set by name: of both checkpoints, of two that no network makes, and of labels at random."""
    checkpoints = {"trained": work.out / "trained", "random": work.out / "random.safetensors"}
    known = {}
    for name, path in checkpoints.items():
        model = read_model(str(path))[0].eval()
        how = Embedding(str(work.out / f"eval-{name}" / "features"))  # kept by the command: nothing is embedded here
        judged = open_set(f"{one}={work.out / 'sets' / one}")
        fitted = open_split(judged, "train")
        assert fitted is not None
        found = [embed_set(model, each, how) for each in (fitted, judged)]
        assert found[0].classes == found[1].classes
        train, test = (Labelled(each.features, each.labels, tuple(each.items)) for each in found)
        known[name] = Splits(train, test, len(found[0].classes)).with_validation()
        yield f"{name} checkpoint", known[name]
    like = known["trained"]
    for title, picture in (("8 x 8 px", thumbnail), ("colours", colours)):
        yield title, repicture(like, work.out / "sets" / one, picture)
    yield "trained, its labels shuffled", shuffle(like)


def shuffle(splits: Splits) -> Splits:
    """Return splits whose images to fit on and to choose by have each other's labels: nothing is left to learn."""
    random = np.random.default_rng(0)
    assert splits.validation is not None
    train, validation = (
        replace(one, labels=random.permutation(one.labels)) for one in (splits.train, splits.validation)
    )
    return replace(splits, train=train, validation=validation)


def repicture(splits: Splits, folder: Path, picture: Callable[[Image.Image], NDArray[np.float32]]) -> Splits:
    """Return splits with other features of the same images."""

    def read(items: Labelled) -> Labelled:
        rows = []
        for item in items.items:
            with Image.open(folder / item) as image:
                rows.append(picture(image.convert("RGB")))
        return replace(items, features=np.stack(rows))

    assert splits.validation is not None
    train, test, validation = map(read, (splits.train, splits.test, splits.validation))
    return replace(splits, train=train, test=test, validation=validation)


def thumbnail(image: Image.Image) -> NDArray[np.float32]:
    """Return a picture's values (192,) at 8 x 8 px, 0 to 1."""
    return np.asarray(image.resize((8, 8), Image.Resampling.BOX), np.float32).ravel() / np.float32(255)


def colours(image: Image.Image) -> NDArray[np.float32]:
    """Return mean and deviation of red, green and blue, (6,), 0 to 1."""
    pixels = np.asarray(image, np.float32).reshape(-1, 3) / 255
    found: NDArray[np.float32] = np.concatenate([pixels.mean(axis=0), pixels.std(axis=0)], dtype=np.float32)
    return found


if __name__ == "__main__":
    main()
