"""Which model it is, whatever file it is from."""

from __future__ import annotations

import hashlib

from trainer.models.build import AnyModel


def fingerprint(model: AnyModel) -> str:
    """Return SHA-256, in hex, over the activation, and names, shapes and values of the weights."""
    digest = hashlib.sha256(model.config.activation.encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
