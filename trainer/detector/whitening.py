"""Whitening of a trained detector's embeddings, multiplied into its last layer.

Training leaves most of the variance in a few directions (34 of 128 in effect, for the small detector), so that
pictures that only have these in common come near each other. SSCD's authors recommend to centre and whiten before the
unit length. Ours is symmetric (ZCA), whose result does not depend on the signs of eigenvectors.

Shapes: N pictures, D embedding.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.detector.model import Detector

MAX_PICTURES = 4_096
LEAST_PICTURES_A_DIMENSION = 2  # with fewer the small variances are those of the choice of pictures
SHRINKAGE = 0.1  # of the mean variance, added to each: what varies little is not blown up without bound

F64 = NDArray[np.float64]


def whitening(embeddings_ND: F64) -> tuple[F64, F64] | None:
    """Return (shift (D,), matrix (D, D)) so that (x - shift) @ matrix has about unit variance in all directions.

    None where there are too few pictures for it.
    """
    count, size = embeddings_ND.shape
    if count < LEAST_PICTURES_A_DIMENSION * size:
        return None
    shift = embeddings_ND.mean(axis=0)
    centred = embeddings_ND - shift
    variances, directions = np.linalg.eigh(centred.T @ centred / count)
    variances = np.maximum(variances, 0)
    scales = 1 / np.sqrt(variances + SHRINKAGE * variances.mean())
    return shift, (directions * scales) @ directions.T


@torch.no_grad()
def whiten(model: Detector, embeddings_ND: F64) -> None:
    """Change a model's last layer so that it puts out whitened embeddings; as it is where the pictures are too few."""
    found = whitening(embeddings_ND)
    if found is None:
        return
    shift, matrix = (torch.from_numpy(each) for each in found)
    layer = model.projection
    weight, bias = (each.detach().cpu().double() for each in (layer.weight, layer.bias))
    weight, bias = matrix.T @ weight, (bias - shift) @ matrix
    layer.direction.copy_(weight)
    layer.gain.copy_(weight.norm(dim=1))
    layer.bias.copy_(bias)
