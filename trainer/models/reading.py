"""What the models of all objectives have in common for evaluations: features of images, and the way on from them.

Shapes: B batch, S image side in px, W width of the features, D of the tower's output.
"""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from trainer.models.resnet import ModifiedResNet
from trainer.models.vision import VisionTransformer


class FeatureReader:
    """A model with an image tower, in two steps: the first is taken once for all protocols."""

    visual: VisionTransformer | ModifiedResNet

    def image_features(self, images_B3SS: Tensor) -> Tensor:
        """Return (B, W) of normalised images: what the paper fits its linear probes on."""
        return self.visual.features(images_B3SS)

    def read_features(self, features_BW: Tensor) -> Tensor:
        """Return what the model's head makes of features: a model's `encode_image`, or what it has in its place."""
        return self.read_tower(self.visual.project(features_BW))

    @abstractmethod
    def read_tower(self, tower_BD: Tensor) -> Tensor:
        """Return the same from what the image tower puts out."""
