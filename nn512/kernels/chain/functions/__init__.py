"""Activation functions, one module each; `FUNCTIONS` finds them by the Kind of the node."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nn512.kernels.chain.code import StepCode
from nn512.kernels.chain.functions import (
    clip,
    elu,
    exp,
    gelu,
    gelu_tanh,
    hard_sigmoid,
    hard_swish,
    log,
    mish,
    prelu,
    relu,
    sigmoid,
    silu,
    single,
    softplus,
    tanh,
)

FUNCTIONS: Mapping[str, StepCode] = MappingProxyType(
    {
        "ReLU": relu.CODE,
        "PReLU": prelu.CODE,
        "Clip": clip.CODE,
        "Sigmoid": sigmoid.CODE,
        "HardSigmoid": hard_sigmoid.CODE,
        "SiLU": silu.CODE,
        "HardSwish": hard_swish.CODE,
        "Tanh": tanh.CODE,
        "GELU": gelu.CODE,
        "GELUTanh": gelu_tanh.CODE,
        "ELU": elu.CODE,
        "Softplus": softplus.CODE,
        "Mish": mish.CODE,
        "Exp": exp.CODE,
        "Log": log.CODE,
        "Sqrt": single.SQRT,
        "Square": single.SQUARE,
        "Abs": single.ABS,
        "Neg": single.NEG,
        "Reciprocal": single.RECIPROCAL,
    }
)
