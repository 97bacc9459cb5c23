"""Real evaluation sets: folders of classes, and tars of several makers."""

from __future__ import annotations

import csv
import tarfile
from collections import Counter

from tests.support import real_data
from tests.wit.evaluation_sets.files import CIFAR10_CLASSES, labels_of, pixels, read_set
from wit.evaluation_sets import list_set, parse
from wit.image import sniff


def test_caltech_101() -> None:
    """101 class folders of 8 images each; every one is an image, its class its folder."""
    folder = real_data("eval", "caltech101")
    listing = list_set(parse(f"x={folder}"))
    assert (listing.format, len(listing.classes), listing.split) == ("folder", 101, "")
    items = read_set(folder)
    assert Counter(each.label for each in items) == dict.fromkeys(listing.classes, 8)
    assert all(each.item.partition("/")[0] == each.label and sniff(each.body) for each in items)


def test_cifar_10_as_jpeg_in_a_tar() -> None:
    """10,000 images without .cls: the folder is the class, and members are those that tarfile finds."""
    path = real_data("eval", "cifar10", "cifar10-test-10000.tar")
    items = read_set(path)
    assert Counter(each.label for each in items) == dict.fromkeys(CIFAR10_CLASSES, 1_000)
    with tarfile.open(path) as archive:
        names = [member.name for member in archive if member.isfile()]
    assert [each.item for each in items] == [f"{path.name}/{name}" for name in names]
    assert pixels(items[17].body).shape == (32, 32, 3)


def test_mnist_in_a_packed_tar_of_webdataset() -> None:
    """90 digits with .cls beside each, which comes before its image."""
    items = read_set(real_data("peers", "webdataset", "sample.tgz"))
    assert len(items) == 90
    assert {each.label for each in items} == set("0123456789")
    assert {pixels(each.body).shape for each in items} == {(28, 28)}


def test_webdataset_reads_the_same() -> None:
    """The library that gave the format its name finds the same classes and bytes in the same order."""
    import webdataset

    path = real_data("peers", "webdataset", "sample.tgz")
    peers = webdataset.WebDataset(f"pipe:gzip -dc {path}", shardshuffle=False)
    expected = [(each["cls"].decode(), each["png"]) for each in peers]
    assert [(each.label, each.body) for each in read_set(path)] == expected


def test_tars_of_clip_retrieval() -> None:
    """Several tars are one set, in the order of their names."""
    items = read_set(real_data("peers", "clip-retrieval", "test_tars"))
    assert [each.item.partition("/")[0] for each in items] == sorted(each.item.partition("/")[0] for each in items)
    assert len({each.item for each in items}) == len(items) == 11


def test_pairs_of_cifar_have_their_names() -> None:
    """The names by which people judged the pairs are those of the items, without the tar."""
    with real_data("neardup", "cifar10-cifair", "pairs.csv").open() as file:
        wanted = {row["test_path"] for row in csv.DictReader(file)}
    path = real_data("eval", "cifar10", "cifar10-test-10000.tar")
    names = {("x", f"{path.name}/{name}") for name in wanted}
    assert labels_of(read_set(path, wanted=names)).keys() == {name for _, name in names}
