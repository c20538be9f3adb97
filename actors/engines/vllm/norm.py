"""vLLM's compiled RMS norms on CPU hosts.

vLLM's CPU build has the two kernels, and takes the norms written in Python all the same: it
registers the kernels for GPUs only. In eager execution a norm in Python takes about 120 µs and a
compiled one 10; a small model has two in every layer, for every token. Here they are offered as one
more provider of the same operations, by the registry that vLLM has for that. It reads their
signatures, so this module can only be imported where vLLM is installed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from vllm.ir import ops

PROVIDER = "familiar_cpu"
PRIORITY = {"rms_norm": [PROVIDER, "native"], "fused_add_rms_norm": [PROVIDER, "native"]}
"""For vLLM's `ir_op_priority`."""


def register_norms() -> None:
    """Make the provider known in this process. Safe to repeat."""
    if PROVIDER in ops.rms_norm.impls:
        return
    ops.rms_norm.register_impl(PROVIDER, supports_args=_fits)(_rms_norm)
    ops.fused_add_rms_norm.register_impl(PROVIDER, supports_args=_fits_added, inplace=True)(
        _fused_add_rms_norm
    )


def _fits(
    x: Tensor, weight: Tensor | None, epsilon: float, variance_size: int | None = None
) -> bool:
    return (
        variance_size is None
        and weight is not None
        and weight.dtype == x.dtype
        and x.is_contiguous()
    )


def _fits_added(
    x: Tensor,
    x_residual: Tensor,
    weight: Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> bool:
    return x_residual.is_contiguous() and _fits(x, weight, epsilon, variance_size)


def _rms_norm(
    x: Tensor, weight: Tensor | None, epsilon: float, variance_size: int | None = None
) -> Tensor:
    normed = torch.empty_like(x)
    torch.ops._C.rms_norm(normed, x, weight, epsilon)
    return normed


def _fused_add_rms_norm(
    x: Tensor,
    x_residual: Tensor,
    weight: Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    torch.ops._C.fused_add_rms_norm(x, x_residual, weight, epsilon)
    return x, x_residual
