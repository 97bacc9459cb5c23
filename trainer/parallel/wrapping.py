"""One model on many devices: how its blocks are wrapped, and whole tensors out of it and into it again."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from trainer.models.build import blocks, set_checkpointing
from trainer.parallel.ranks import Ranks
from trainer.recipe import Run

RECOMPILE_LIMIT = 64
"""Variants of a block that may be compiled: torch's 8 are too few, and what is above runs uncompiled.

A text block has 2 places (the last one reads one token) x 2 (with gradients and without) x 2 (the first length, then
any), an image block 2 x 2, and all Transformers share a function; ResNets have up to 8 shapes of bottlenecks x 3.
"""
_HAS_SYNC = "forward_sync_buffers" in signature(DistributedDataParallel).parameters  # its name from torch 2.13 on
_NO_BUFFERS: dict[str, Any] = {"forward_sync_buffers" if _HAS_SYNC else "broadcast_buffers": False}
_ENTRIES = ("image_features", "read_features", "encode_text", "log_likelihoods")
"""Methods beside forward that read the weights of a model."""


def prepare(model: nn.Module, run: Run, ranks: Ranks, device: torch.device) -> nn.Module:
    """Bring a model to its device and return what a step calls; `model` itself keeps its names and its parameters.

    The order matters: activations are checkpointed inside what is compiled, so that the compiler chooses what to keep;
    weights are shared out around both, so that the gathering of them is in neither. The optimiser is made after this,
    as FSDP puts other parameters in the place of those there were.
    """
    model.to(device)
    set_checkpointing(model, run.checkpoint_blocks)
    if run.compile:
        _compile(model)
    if ranks.size == 1:
        return model
    return _share_out(model, ranks, device) if run.parallel == "fsdp" else _replicate(model, device)


def loss_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that only the loss reads: the scale and the bias, 0-d.

    Every rank has them whole, and the step itself adds up their gradients: FSDP cannot cut a scalar into shards, and
    neither it nor DDP sees a gradient that does not come out of the model's forward pass.
    """
    return [parameter for parameter in model.parameters() if parameter.ndim == 0]


def _compile(model: nn.Module) -> None:
    """Compile the blocks one by one: those of one shape share what is compiled."""
    torch._dynamo.config.recompile_limit = max(RECOMPILE_LIMIT, torch._dynamo.config.recompile_limit)
    for block in blocks(model):
        compiled = torch.compile(block.forward)  # not `block.compile()`: that would take FSDP's hooks along
        setattr(block, "forward", compiled)  # noqa: B010 - a method, as mypy sees it


def _replicate(model: nn.Module, device: torch.device) -> nn.Module:
    outside = loss_parameters(model)
    for parameter in outside:  # DDP takes charge of what asks for a gradient when it is made
        parameter.requires_grad_(False)
    replica = DistributedDataParallel(
        model,
        device_ids=[device.index] if device.type == "cuda" and device.index is not None else None,
        gradient_as_bucket_view=True,
        **_NO_BUFFERS,  # the step takes the mean of the ranks' running statistics
    )
    for parameter in outside:
        parameter.requires_grad_()
    return replica


def _share_out(model: nn.Module, ranks: Ranks, device: torch.device) -> nn.Module:
    mesh = init_device_mesh(device.type, (ranks.size,))
    for block in blocks(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh, ignored_params=set(loss_parameters(model)))
    for name in _ENTRIES:
        if hasattr(model, name):
            register_fsdp_forward_method(model, name)
    return model


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model itself, given it or what `prepare` made of it."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def local(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that is on this rank; writing to it is writing to the tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def gather_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of a model's whole weights and buffers in main memory on rank 0, and {} on the others.

    All ranks call it together; names are those of the model, whatever `prepare` made of it.
    """
    return _gather(unwrap(model).state_dict())


@torch.no_grad()
def gather_moments(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return copies of what an optimiser keeps of each parameter, as `gather_weights`: NAME.exp_avg and so on."""
    return _gather(moments(model, optimiser))


def moments(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return what an optimiser keeps of each parameter, NAME.exp_avg and so on, shared out as the parameter is."""
    return {
        f"{name}.{slot}": value
        for name, parameter in unwrap(model).named_parameters()
        for slot, value in optimiser.state[parameter].items()
    }


def _gather(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    is_first = not dist.is_initialized() or dist.get_rank() == 0
    gathered = {}
    for name, tensor in tensors.items():
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if is_first:
            gathered[name] = whole.to("cpu", copy=True)
    return gathered


@torch.no_grad()
def load_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy whole weights and buffers, the same on every rank, into a model, shared out or not."""
    own = unwrap(model).state_dict()
    assert own.keys() == tensors.keys(), sorted(own.keys() ^ tensors.keys())
    for name, tensor in own.items():
        tensor.copy_(_like(tensors[name], tensor))


@torch.no_grad()
def load_moments(model: nn.Module, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser what it had kept of each parameter, whole and the same on every rank: NAME.exp_avg and so on.

    The numbers stay in the precision of `tensors`, and become copies.
    """
    parameters = dict(unwrap(model).named_parameters())
    for key, tensor in tensors.items():
        name, _, slot = key.rpartition(".")
        parameter = parameters[name]
        moved = _like(tensor, parameter) if tensor.ndim else tensor.to(parameter.device)  # counts are whole everywhere
        optimiser.state[parameter][slot] = moved.clone()


def _like(whole: Tensor, tensor: Tensor) -> Tensor:
    """Return a whole tensor on the device of another, and shared out as it is."""
    moved = whole.to(tensor.device)
    if not isinstance(tensor, DTensor):
        return moved
    return distribute_tensor(moved, tensor.device_mesh, tensor.placements, src_data_rank=None)  # every rank has it
