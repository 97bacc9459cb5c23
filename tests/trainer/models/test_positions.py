from __future__ import annotations

import pytest
import torch

from trainer.models.build import empty_model
from trainer.models.config import CONFIGS
from trainer.models.positions import resize_positions, resized

SQUARES = [float(number**2 % 11) for number in range(16)]
GOLDEN = [  # open_clip 4.2.0.dev0 (89fb801), resize_pos_embed
    ([9.0, 1, 2, 3, 5], 3, [9.0, 0.80696, 1.335527, 1.864094, 1.901316, 2.75, 3.598685, 2.995672, 4.164474, 5.333276]),
    ([7.0, *SQUARES], 2, [7.0, 2.649836, 4.369698, 4.689383, 3.659227]),
]


@pytest.mark.parametrize(("positions", "grid", "wanted"), GOLDEN)
def test_positions_for_another_grid_are_open_clips(positions: list[float], grid: int, wanted: list[float]) -> None:
    """The grid is interpolated as open_clip does it, larger and smaller, and the class token's place is left alone."""
    found = resize_positions(torch.tensor(positions)[:, None].repeat(1, 3), grid)
    torch.testing.assert_close(found, torch.tensor(wanted)[:, None].repeat(1, 3), atol=1e-5, rtol=0)


def test_the_same_grid_changes_nothing() -> None:
    """Positions of the size they have are the same tensor."""
    positions = torch.randn(50, 4)
    assert resize_positions(positions, 7) is positions


@pytest.mark.parametrize(("small", "large"), [("ViT-L/14", "ViT-L/14@336px")])
def test_a_model_for_224_px_becomes_one_for_336(small: str, large: str) -> None:
    """Of all tensors the positions alone change their shape, to that of the larger model; text positions stay."""
    tensors = {name: torch.empty(value.shape) for name, value in empty_model(CONFIGS[small]).state_dict().items()}
    found = {name: value.shape for name, value in resized(tensors, CONFIGS[large].vision.grid).items()}
    assert found == {name: value.shape for name, value in empty_model(CONFIGS[large]).state_dict().items()}


def test_a_resnets_positions_are_resized_too() -> None:
    """The attention pool's positions, of the mean and of a square, are treated alike."""
    name = "visual.attnpool.positional_embedding"
    tensors = {name: torch.tensor(GOLDEN[0][0])[:, None], "visual.attnpool.c_proj.bias": torch.zeros(5)}
    found = resized(tensors, 3)
    torch.testing.assert_close(found[name][:, 0], torch.tensor(GOLDEN[0][2]), atol=1e-5, rtol=0)
    assert found["visual.attnpool.c_proj.bias"] is tensors["visual.attnpool.c_proj.bias"]
