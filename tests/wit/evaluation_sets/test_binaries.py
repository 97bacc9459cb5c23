"""CIFAR's binary version and MNIST's idx files: pixels, classes, splits, packed and broken ones, no pickles."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wit.evaluation_sets.files import (
    CIFAR10_CLASSES,
    cifar_records,
    idx,
    image,
    labels_of,
    packed,
    pixels,
    read_or_message,
    read_set,
    write_files,
    write_tar,
)
from wit.errors import InputError
from wit.evaluation_sets import Item, list_set, parse, read_items

META = "\n".join(CIFAR10_CLASSES) + "\n\n"  # as published, with an empty line at its end
FINE = [f"fine {number}" for number in range(100)]
CIFAR10_LABELS = [6, 0, 9, 3]


def cifar10_files() -> dict[str, bytes]:
    """What cifar-10-binary.tar.gz holds, of fewer images."""
    files = {f"data_batch_{number}.bin": cifar_records([(number,)] * 2, number)[0] for number in range(1, 6)}
    test = cifar_records([(label,) for label in CIFAR10_LABELS])[0]
    return {"batches.meta.txt": META.encode(), **files, "readme.html": b"<html>", "test_batch.bin": test}


def cifar100_files() -> dict[str, bytes]:
    """What cifar-100-binary.tar.gz holds, of fewer images: a coarse class before the fine one."""
    return {
        "coarse_label_names.txt": "\n".join(f"coarse {number}" for number in range(20)).encode(),
        "fine_label_names.txt": ("\n".join(FINE) + "\n").encode(),
        "train.bin": cifar_records([(19, 98)], 1)[0],
        "test.bin": cifar_records([(19, 99), (0, 3)])[0],
    }


def check_pixels(items: list[Item], expected: npt.NDArray[np.uint8]) -> None:
    assert all(np.array_equal(pixels(item.body), each) for item, each in zip(items, expected, strict=True))


def test_cifar_10(tmp_path: Path) -> None:
    """The test batch is read, records become the pixels they are, classes have their names in their order."""
    listing = list_set(parse(f"x={write_files(tmp_path, cifar10_files())}"))
    assert (listing.format, listing.split, listing.left_out) == ("cifar10", "test", ("train",))
    assert listing.classes == tuple(CIFAR10_CLASSES)
    items = read_set(tmp_path)
    assert labels_of(items) == {
        f"test_batch.bin/{row}": CIFAR10_CLASSES[label] for row, label in enumerate(CIFAR10_LABELS)
    }
    check_pixels(items, cifar_records([(0,)] * 4)[1])


def test_cifar_100(tmp_path: Path) -> None:
    """The class is the fine one."""
    write_files(tmp_path, cifar100_files())
    assert list_set(parse(f"x={tmp_path}")).classes == tuple(FINE)
    items = read_set(tmp_path)
    assert labels_of(items) == {"test.bin/0": "fine 99", "test.bin/1": "fine 3"}
    check_pixels(items, cifar_records([(0, 0)] * 2)[1])
    assert labels_of(read_set(tmp_path / "train.bin")) == {"train.bin/0": "fine 98"}


@pytest.mark.parametrize(("mode", "suffix"), [("w:gz", ".tar.gz"), ("w", ".tar")])
def test_cifar_as_published(tmp_path: Path, mode: str, suffix: str) -> None:
    """The tar gives what its files give, under the same names."""
    for number, files in ((10, cifar10_files()), (100, cifar100_files())):
        folder = write_files(tmp_path / f"cifar-{number}", files)
        members = [(f"cifar-{number}-batches-bin/{name}", data) for name, data in files.items()]
        archive = write_tar(tmp_path / f"cifar-{number}-binary{suffix}", members, mode)
        assert read_set(archive) == read_set(folder)
        assert list_set(parse(f"x={archive}")).line() == list_set(parse(f"x={folder}")).line().replace(
            str(folder), str(archive)
        )


def test_batches_named_one_by_one(tmp_path: Path) -> None:
    """A file, or a pattern of files, is read whatever split it is of; without names classes are numbers."""
    write_files(tmp_path, cifar10_files())
    assert labels_of(read_set(tmp_path / "data_batch_3.bin")) == {f"data_batch_3.bin/{row}": "cat" for row in range(2)}
    assert len(read_set(tmp_path / "data_batch_*.bin")) == 10
    (tmp_path / "batches.meta.txt").unlink()
    assert list(labels_of(read_set(tmp_path)).values()) == [str(label) for label in CIFAR10_LABELS]


def test_many_records_are_many_pieces(tmp_path: Path) -> None:
    """A file is cut into pieces that together are the file; each can be read alone."""
    data, expected = cifar_records([(number % 10,) for number in range(4100)])
    write_files(tmp_path, {"test_batch.bin": data})
    pieces = [piece.row() for piece in list_set(parse(f"x={tmp_path}")).pieces]
    assert [(piece["start"], piece["stop"]) for piece in pieces] == [(0, 2000), (2000, 4000), (4000, 4100)]
    last = list(read_items(pieces[2:]))
    assert [last[0].item, last[-1].label] == ["test_batch.bin/4000", "9"]
    check_pixels(last, expected[4000:])


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    """CIFAR's Python version, unpacked or packed, is refused with the download to take, and no code of it runs."""

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return open, (str(tmp_path / "sprung"), "w")

    trap = pickle.dumps({b"data": Trap(), b"labels": [1]}, protocol=2)
    for number, names in ((10, ["data_batch_1", "test_batch", "batches.meta"]), (100, ["train", "test", "meta"])):
        folder = write_files(tmp_path / f"cifar-{number}", dict.fromkeys(names, trap))
        archive = write_tar(tmp_path / f"{number}.tar.gz", [(f"cifar/{name}", trap) for name in names], "w:gz")
        for path in (folder, archive, folder / names[0]):
            with pytest.raises(InputError, match=r"cifar-10-binary\.tar\.gz or cifar-100-binary\.tar\.gz"):
                read_set(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("test_batch.bin", bytes(3073 * 2 - 1), "expected records of 3073 bytes, as cifar10 has them, found 6145"),
        ("test.bin", bytes(3073), "expected records of 3074 bytes"),
        ("test_batch.bin", b"", "found 0 bytes"),
        ("test_batch.bin", cifar_records([(1,), (10,)])[0], "image 1: expected a class from 0 to 9, found 10"),
        ("test.bin", cifar_records([(1, 100)])[0], "expected a class from 0 to 99, found 100"),
    ],
)
def test_broken_cifar_files(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    """A file that is cut off, of the other version, or has a class that is none, is one line with its name."""
    for path in (write_files(tmp_path / "a", {name: data}), write_tar(tmp_path / "b.tar", [(f"x/{name}", data)])):
        with pytest.raises(InputError, match=message) as caught:
            read_set(path)
        assert name in str(caught.value) or path.suffix == ".tar"


def test_a_file_that_is_twice_in_a_tar(tmp_path: Path) -> None:
    """Two members of one name would be one set of names: neither is dropped in silence."""
    data = cifar_records([(1,)])[0]
    archive = write_tar(tmp_path / "0.tar", [("a/test_batch.bin", data), ("b/test_batch.bin", data)])
    with pytest.raises(InputError, match=r"found 'test_batch\.bin' twice"):
        read_set(archive)


def test_names_of_classes_that_do_not_fit(tmp_path: Path) -> None:
    """batches.meta.txt with another number of names is not taken for it."""
    write_files(tmp_path, cifar10_files() | {"batches.meta.txt": b"a\nb\n"})
    with pytest.raises(InputError, match=r"batches\.meta\.txt: expected 10 names of classes, found 2"):
        read_set(tmp_path)


def test_a_file_that_shrinks_after_it_was_listed(tmp_path: Path) -> None:
    """It is told, not read short."""
    write_files(tmp_path, cifar10_files())
    rows = [piece.row() for piece in list_set(parse(f"x={tmp_path}")).pieces]
    (tmp_path / "test_batch.bin").write_bytes(bytes(5000))
    with pytest.raises(InputError, match="breaks off"):
        list(read_items(rows))


DIGITS = np.random.default_rng(1).integers(0, 256, (5, 28, 20), dtype=np.uint8)
DIGIT_LABELS = np.array([7, 2, 1, 0, 4], np.uint8)


def mnist_files(suffix: str = "", prefix: str = "", images: npt.NDArray[np.uint8] = DIGITS) -> dict[str, bytes]:
    """The four files of MNIST, packed if the suffix says so."""
    pack = packed if suffix == ".gz" else bytes
    tests = {
        f"{prefix}images-idx3-ubyte{suffix}": pack(idx(images)),
        f"{prefix}labels-idx1-ubyte{suffix}": pack(idx(DIGIT_LABELS)),
    }
    return tests | {f"train-{name.removeprefix(prefix)}": pack(idx(images[:1])) for name in tests if "images" in name}


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist(tmp_path: Path, suffix: str) -> None:
    """The test images are read, grey, height before width, each with its digit; the labels' file is no set."""
    write_files(tmp_path / "MNIST" / "raw", mnist_files(suffix, "t10k-"))
    listing = list_set(parse(f"x={tmp_path}"))
    assert (listing.format, listing.split, listing.left_out) == ("mnist", "test", ("train",))
    items = read_set(tmp_path)
    name = f"MNIST/raw/t10k-images-idx3-ubyte{suffix}"
    assert labels_of(items) == {f"{name}/{row}": str(label) for row, label in enumerate(DIGIT_LABELS)}
    check_pixels(items, DIGITS)
    file = tmp_path / name
    assert [each[1:] for each in read_set(file)] == [
        (f"{file.name}/{i}", each[2], each[3]) for i, each in enumerate(items)
    ]


def test_mnist_packed_and_unpacked_side_by_side(tmp_path: Path) -> None:
    """As loaders leave a folder: each image is read once, from the file that is not packed."""
    write_files(tmp_path, mnist_files("", "t10k-") | mnist_files(".gz", "t10k-"))
    assert [each.item for each in read_set(tmp_path)] == [f"t10k-images-idx3-ubyte/{row}" for row in range(5)]


def test_labels_that_are_packed_alone_or_missing(tmp_path: Path) -> None:
    """Labels beside the images may be packed though those are not; without labels there is no class."""
    files = mnist_files("", "t10k-")
    labels = files.pop("t10k-labels-idx1-ubyte")
    write_files(tmp_path, files)
    assert set(labels_of(read_set(tmp_path)).values()) == {None}
    write_files(tmp_path, {"t10k-labels-idx1-ubyte.gz": packed(labels)})
    assert list(labels_of(read_set(tmp_path)).values()) == ["7", "2", "1", "0", "4"]


def test_emnist_is_turned_upright_and_named(tmp_path: Path) -> None:
    """EMNIST lies transposed; its mapping gives the characters of classes, which of its letters begin at 1."""
    prefix = "emnist-letters-test-"
    write_files(tmp_path, mnist_files(".gz", prefix) | {"emnist-letters-mapping.txt": "7 71 103\n1 65\n2 66\n0 48\n"})
    path = tmp_path / f"{prefix}images-idx3-ubyte.gz"
    items = read_set(path)
    check_pixels(items, DIGITS.transpose(0, 2, 1))
    assert list(labels_of(items).values()) == ["G", "B", "A", "0", "4"]
    assert list_set(parse(f"x={path}")).classes == ("0", "A", "B", "G")
    write_files(tmp_path, {"emnist-letters-mapping.txt": "a b"})
    with pytest.raises(InputError, match=r"mapping\.txt: expected lines"):
        read_set(path)


IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({IMAGES: b""}, "found nothing"),
        ({IMAGES: b"\0\0\x08\x01" + bytes(12)}, r"idx file of bytes in 3 dimensions .* found 00 00 08 01"),
        ({IMAGES: b"\0\0\x0d\x03" + bytes(12)}, "found 00 00 0d 03"),
        ({IMAGES: idx(DIGITS)[:9]}, "breaks off"),
        ({IMAGES: idx(DIGITS)[:-1]}, "expected 2800 bytes after its header, found 2799"),
        ({IMAGES: idx(DIGITS) + b"x"}, "found 2801"),
        ({IMAGES: struct.pack(">IIII", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1)}, "found a header of 4294967295 of"),
        ({IMAGES: idx(DIGITS[:0])}, "found a header of 0 of"),
        ({IMAGES: idx(DIGITS[:, :0])}, "of 20 x 0 pixels"),
        ({IMAGES: idx(DIGITS), LABELS: idx(DIGIT_LABELS[:3])}, "expected a label for each of 5 images"),
        ({IMAGES: idx(DIGITS), LABELS: idx(DIGIT_LABELS)[:-1]}, "expected 5 bytes after its header, found 4"),
        ({IMAGES: idx(DIGITS), LABELS: idx(DIGITS)}, "in 1 dimensions"),
        ({f"{IMAGES}.gz": packed(idx(DIGITS)[:-1])}, "breaks off"),
        ({f"{IMAGES}.gz": packed(idx(DIGITS))[:-30]}, "damaged"),
        ({f"{IMAGES}.gz": b"\x1f\x8b" + bytes(30)}, "damaged|found nothing"),
        ({IMAGES: idx(DIGITS), f"{LABELS}.gz": packed(idx(DIGIT_LABELS)[:-1])}, "breaks off"),
    ],
)
def test_broken_idx_files(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    """Another file, a size that is not the header's, labels that do not fit, a damaged gzip: one line with the name."""
    with pytest.raises(InputError, match=message) as caught:
        read_set(write_files(tmp_path, files))
    assert "\n" not in str(caught.value)
    assert "t10k-" in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damage_is_an_item_or_one_line(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Bytes of a file changed, or its end cut off: items, or one clear error, nothing else."""
    files = {
        "test_batch.bin": cifar_records([(1,), (2,)])[0],
        "cifar.tar.gz": write_tar(
            tmp_path_factory.mktemp("whole") / "0.tar", [("test_batch.bin", cifar_records([(1,)])[0])], "w:gz"
        ).read_bytes(),
        IMAGES: idx(DIGITS),
        f"{IMAGES}.gz": packed(idx(DIGITS)),
    }
    name = data.draw(st.sampled_from(sorted(files)))
    whole = bytearray(files[name])
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, min(len(whole), 600) - 1))] = data.draw(st.integers(0, 255))
    whole = whole[: data.draw(st.integers(0, len(whole)) | st.just(len(whole)))]
    items, message = read_or_message(write_files(tmp_path_factory.mktemp("damage"), {name: bytes(whole)}))
    assert bool(items) != bool(message)
    assert "\n" not in message
    assert all(each.body.startswith(image(0)[:8]) for each in items)
