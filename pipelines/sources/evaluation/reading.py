"""The images of evaluation sets, with the class of each."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any

from pipelines.sources.evaluation.cifar import read_cifar
from pipelines.sources.evaluation.folders import read_folder
from pipelines.sources.evaluation.mnist import read_mnist
from pipelines.sources.evaluation.parquets import read_parquet_rows
from pipelines.sources.evaluation.pieces import Item, Labelled, Piece, Wanted
from pipelines.sources.evaluation.sets import CIFAR10, CIFAR100, FOLDER, MNIST, PARQUET, WEBDATASET
from pipelines.sources.evaluation.tars import read_tar

_READERS: dict[str, Callable[[Piece, Wanted], Iterator[Labelled]]] = {
    FOLDER: read_folder,
    WEBDATASET: read_tar,
    PARQUET: read_parquet_rows,
    CIFAR10: read_cifar,
    CIFAR100: read_cifar,
    MNIST: read_mnist,
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
