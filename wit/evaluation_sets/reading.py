"""The images of evaluation sets, with the class of each."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any

from wit.evaluation_sets.cifar import read_cifar
from wit.evaluation_sets.folders import read_folder
from wit.evaluation_sets.mnist import read_mnist
from wit.evaluation_sets.parquets import read_parquet_rows
from wit.evaluation_sets.pieces import Item, Labelled, Piece, Wanted
from wit.evaluation_sets.sets import CIFAR10, CIFAR100, FOLDER, MNIST, PARQUET, STL10, WEBDATASET
from wit.evaluation_sets.stl import read_stl
from wit.evaluation_sets.tars import read_tar

_READERS: dict[str, Callable[[Piece, Wanted], Iterator[Labelled]]] = {
    FOLDER: read_folder,
    WEBDATASET: read_tar,
    PARQUET: read_parquet_rows,
    CIFAR10: read_cifar,
    CIFAR100: read_cifar,
    MNIST: read_mnist,
    STL10: read_stl,
}


def read_items(inputs: Iterable[dict[str, Any]], wanted: Container[tuple[str, str]] | None = None) -> Iterator[Item]:
    """Yield every image that rows of EVALUATION_INPUTS name, or those whose (set, item) are `wanted`, in order.

    Broken images too. In memory are one image, one sample of a tar, or 16 rows of a Parquet file. Raises InputError
    for a file that is missing or broken itself.
    """
    for piece in map(Piece.of, inputs):
        for name, label, body in _READERS[piece.kind](piece, _chooser(piece.set, wanted)):
            yield Item(piece.set, name, label, body)


def _chooser(set_name: str, wanted: Container[tuple[str, str]] | None) -> Wanted:
    return lambda item: wanted is None or (set_name, item) in wanted
