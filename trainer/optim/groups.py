"""Which weights decay, and which belong to the text tower."""

from __future__ import annotations

from torch import Tensor, nn

_TEXT = ("transformer.", "token_embedding.", "positional_embedding", "text_projection")
"""How the names of the text tower's weights begin, as in the released checkpoints."""


def is_matrix(parameter: Tensor) -> bool:
    """Return whether a parameter is a weight, not a gain, a bias, a class token or a scale: it has two axes or more.

    The line that open_clip draws. A weight shared out over ranks says the axes of the whole.
    """
    return parameter.ndim >= 2


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return the model's trained parameters in two groups: weights, which decay, and the others, which do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if is_matrix(parameter)], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if not is_matrix(parameter)], "weight_decay": 0.0},
    ]


def text_weights(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights of the text tower, without gains and biases; none for a model without one."""
    return [
        parameter
        for name, parameter in model.named_parameters()
        if name.startswith(_TEXT) and parameter.requires_grad and is_matrix(parameter)
    ]
