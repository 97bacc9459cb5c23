"""Which model it is, whatever file it is from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from trainer.models.build import AnyModel


def fingerprint(model: AnyModel) -> str:
    """Return SHA-256, in hex, over the config, and names, shapes and values of the weights.

    The weights do not say all: neither the number of heads nor the activation.
    """
    digest = hashlib.sha256(json.dumps(asdict(model.config), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
