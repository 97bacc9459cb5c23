"""A model that begins with another's weights, perhaps for images of another size."""

from __future__ import annotations

from torch import nn

from trainer.interchange.reading import read_weights
from trainer.interchange.shapes import check_tensors
from trainer.models.config import ClipConfig
from trainer.models.positions import resized


def start_from(model: nn.Module, config: ClipConfig, path: str) -> None:
    """Load the weights in a file or folder into a model of these shapes, in place.

    Positions of the image tower are interpolated where the image's size differs. Raises InputError when anything else
    does.
    """
    weights = read_weights(path, config.activation)
    tensors = resized(weights.tensors, config.vision.grid)
    check_tensors(tensors, config, path)
    model.load_state_dict(tensors)
