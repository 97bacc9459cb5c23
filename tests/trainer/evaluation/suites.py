"""The paper's 27 sets in small: an image of each class, in the layout in which each is published or passed on."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.wit.evaluation_sets.files import cifar_records, hugging_face, idx, write_files

Classes = Sequence[str]
GTSRB_HEAD = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"


def picture(seed: int, kind: str = "PNG") -> bytes:
    """A small picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (20, 16), (seed * 37 % 256, seed * 91 % 256, seed * 53 % 256)).save(buffer, kind)
    return buffer.getvalue()


def in_folders(root: Path, classes: Classes, splits: Sequence[str] = ("test",), num_images: int = 1) -> None:
    """Class folders; what no folder is named by is a sign in which names do not differ."""
    names = [title.replace("/", "_") for title in classes]
    for split in splits:
        for place, name in enumerate(names):
            seeds = [place + len(names) * number for number in range(num_images)]
            write_files(root / split / name, {f"{seed}.png": picture(seed) for seed in seeds})


def in_numbered_folders(root: Path, classes: Classes) -> None:
    in_folders(root, [str(number) for number in range(len(classes))])


def in_metadata(root: Path, classes: Classes) -> None:
    lines = ["file_name,label"] + [f'{seed}.png,"{title}"' for seed, title in enumerate(classes)]
    files: dict[str, bytes | str] = {f"{seed}.png": picture(seed) for seed in range(len(classes))}
    write_files(root, files | {"metadata.csv": "\n".join(lines) + "\n"})


def in_tar(root: Path, classes: Classes) -> None:
    root.mkdir(parents=True)
    with tarfile.open(root / "test-000.tar", "w") as archive:
        for seed in range(len(classes)):
            for suffix, body in (("cls", str(seed).encode()), ("png", picture(seed))):
                member = tarfile.TarInfo(f"{seed:05}.{suffix}")
                member.size = len(body)
                archive.addfile(member, io.BytesIO(body))


def in_parquet(root: Path, classes: Classes) -> None:
    root.mkdir(parents=True)
    images = [{"bytes": picture(seed), "path": f"{seed}.png"} for seed in range(len(classes))]
    table = pa.table({"image": images, "label": list(range(len(classes)))})
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(classes)}}
    pq.write_table(table.replace_schema_metadata(hugging_face(features)), root / "test-00000-of-00001.parquet")


def as_cifar10(root: Path, classes: Classes) -> None:
    records = cifar_records([(label,) for label in range(10)])[0]
    files: dict[str, bytes | str] = {f"data_batch_{number}.bin": records for number in range(1, 6)}
    write_files(root, files | {"batches.meta.txt": "\n".join(classes), "test_batch.bin": records})


def as_cifar100(root: Path, classes: Classes) -> None:
    records = cifar_records([(label // 5, label) for label in range(100)])[0]
    coarse = "\n".join(f"coarse {number}" for number in range(20))
    names = {"fine_label_names.txt": "\n".join(classes), "coarse_label_names.txt": coarse}
    write_files(root, {**names, "train.bin": records, "test.bin": records})


def as_mnist(root: Path, classes: Classes) -> None:
    images = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    labels = np.arange(10, dtype=np.uint8)
    for part in ("train", "t10k"):
        write_files(root, {f"{part}-images-idx3-ubyte": idx(images), f"{part}-labels-idx1-ubyte": idx(labels)})


def as_stl10(root: Path, classes: Classes) -> None:
    """Ten images of each part; each of the ten folds has a training image of every class."""
    images = np.random.default_rng(0).integers(0, 256, (10, 3 * 96 * 96), dtype=np.uint8).tobytes()
    labels = bytes(range(1, 11))
    folds = "".join(" ".join(map(str, range(10))) + " \n" for _ in range(10))
    parts = {"test_X.bin": images, "test_y.bin": labels, "train_X.bin": images * 2, "train_y.bin": labels * 2}
    write_files(root, {**parts, "class_names.txt": "\n".join(classes), "fold_indices.txt": folds})


def as_gtsrb(root: Path, classes: Classes) -> None:
    rows = "".join(f"{label:05}.ppm;20;16;1;1;9;9;{label}\n" for label in range(len(classes)))
    files: dict[str, bytes | str] = {
        f"GTSRB/Final_Test/Images/{label:05}.ppm": picture(label, "PPM") for label in range(len(classes))
    }
    write_files(root, files | {"GT-final_test.csv": GTSRB_HEAD + rows})


def as_voc(root: Path, classes: Classes) -> None:
    base = "VOCdevkit/VOC2007"
    files: dict[str, bytes | str] = {f"{base}/JPEGImages/{n:06}.jpg": picture(n, "JPEG") for n in range(len(classes))}
    for own, title in enumerate(classes):
        marks = [1 if number in (own, (own + 1) % len(classes)) else -1 for number in range(len(classes))]
        lines = "".join(f"{number:06} {mark:2}\n" for number, mark in enumerate(marks))
        files[f"{base}/ImageSets/Main/{title.replace(' ', '')}_test.txt"] = lines
    write_files(root, files)


def as_ucf101(root: Path, classes: Classes) -> None:
    """Three frames a class, each a video; each is in the test list of one split, and in the training lists of two."""
    names = [title.replace(" ", "") for title in classes]
    files: dict[str, bytes | str] = {"classInd.txt": "".join(f"{n} {name}\n" for n, name in enumerate(names, 1))}
    files |= {f"{name}/v_{name}_g0{g}.png": picture(3 * n + g) for n, name in enumerate(names) for g in (1, 2, 3)}
    for split in (1, 2, 3):
        train = [(name, g, n) for n, name in enumerate(names, 1) for g in (1, 2, 3) if g != split]
        files[f"trainlist0{split}.txt"] = "".join(f"{name}/v_{name}_g0{g}.avi {n}\n" for name, g, n in train)
        files[f"testlist0{split}.txt"] = "".join(f"{name}/v_{name}_g0{split}.avi\n" for name in names)
    write_files(root, files)


LAYOUTS: dict[str, Callable[[Path, Classes], None]] = {
    "CIFAR10": as_cifar10,
    "CIFAR100": as_cifar100,
    "Birdsnap": in_tar,
    "StanfordCars": in_parquet,
    "PascalVOC2007": as_voc,
    "Flowers102": in_metadata,
    "MNIST": as_mnist,
    "STL10": as_stl10,
    "GTSRB": as_gtsrb,
    "UCF101": as_ucf101,
    "ImageNet": in_numbered_folders,
}
"""All others lie in class folders."""


def write_set(root: Path, task: str, classes: Classes) -> None:
    """Write the set of a task in its layout."""
    LAYOUTS.get(task, in_folders)(root / task, classes)
