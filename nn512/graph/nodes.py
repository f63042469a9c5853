"""The node kinds of the graph language: one frozen dataclass per kind.

A field's metadata is the language manual (`nn512 doc`) and the parser's table at once: the name the user writes, how
its value reads, and what it means. Everything else that depends on the kind of a node is a `match` closed by
`assert_never`, so a new kind announces itself wherever it has to be handled.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, NamedTuple, TypeAlias

from nn512.graph.source import Span


class Shape(NamedTuple):
    """Extent of a tensor: channels, height, width (the batch is always 1)."""

    channels: int
    height: int
    width: int

    @property
    def pixels(self) -> int:
        """Spatial positions, height times width."""
        return self.height * self.width

    @property
    def elements(self) -> int:
        """Channels times height times width."""
        return self.channels * self.height * self.width

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"


class ValueType(enum.Enum):
    """How the text after `Field=` is read."""

    NAME = "a letter, then letters and digits"
    POSITIVE = "a decimal integer of at least 1"
    NATURAL = "a decimal integer of at least 0"
    NUMBER = "a decimal number such as -0.5 or 3"
    SIZE = "a positive integer, optionally with k, KB, KiB, m, MB or MiB in upper or lower case"
    CHOICE = "one of the listed words"


class FieldInfo(NamedTuple):
    """What the language knows about one field of a node kind."""

    attribute: str
    name: str
    type: ValueType
    doc: str
    default: Any  # MISSING where the field must be given
    choices: tuple[str, ...]
    limit: int  # largest value of an integer or a size

    @property
    def required(self) -> bool:
        """Whether the user must write the field."""
        return self.default is MISSING


class Spans(NamedTuple):
    """Where a node's kind and the values of its fields (by field name; only those written) stand in the source."""

    kind: Span
    fields: Mapping[str, Span]


MAX_SIZE = 2**31 - 1
"""Most channels, rows or columns of a tensor."""

MAX_GEOMETRY = 2**16
"""Largest filter, stride, padding or dilation: far beyond any use, and small enough for worriless arithmetic."""

MAX_CACHE = 2**40
"""Largest cache, in bytes."""


def _field(
    name: str,
    type_: ValueType,
    doc: str,
    default: Any = MISSING,
    choices: tuple[str, ...] = (),
    limit: int = MAX_SIZE,
) -> Any:
    return field(
        default=default, metadata={"name": name, "type": type_, "doc": doc, "choices": choices, "limit": limit}
    )


def _geometry(name: str, type_: ValueType, doc: str, default: Any = MISSING) -> Any:
    return _field(name, type_, doc, default, limit=MAX_GEOMETRY)


def _cache(name: str, doc: str, default: int) -> Any:
    return _field(name, ValueType.SIZE, doc, default, limit=MAX_CACHE)


def _from(name: str = "FromTensor") -> Any:
    return _field(name, ValueType.NAME, "The tensor this node reads.")


def _to() -> Any:
    return _field("ToTensor", ValueType.NAME, "The tensor this node produces. Each tensor has exactly one producer.")


def _spans() -> Any:
    return field(default=None, compare=False, repr=False, kw_only=True)


PLATFORMS = ("AVX512Float32",)
ACTIVATIONS = ("ReLU",)
POOLINGS = ("Max2x2Stride2", "Avg2x2Stride2", "Max3x3Stride2", "Avg3x3Stride2", "MaxGlobal", "AvgGlobal")


@dataclass(frozen=True, slots=True)
class Config:
    """Settings for the whole file, exactly one per graph.

    They are the prefix of every emitted name, the target, and the cache sizes that guide blocking.
    """

    prefix: str = _field(
        "Prefix", ValueType.NAME, "Begins the names of the emitted files and of every symbol in them.", "NN512"
    )
    platform: str = _field(
        "Platform", ValueType.CHOICE, "Instruction set and arithmetic of the emitted code.", PLATFORMS[0], PLATFORMS
    )
    l1_data_cache_per_thread: int = _cache(
        "L1DataCachePerThread", "Bytes of level 1 data cache a thread has to itself.", 32 << 10
    )
    l2_cache_per_thread: int = _cache(
        "L2CachePerThreadExL1", "Bytes of level 2 cache a thread has, not counting level 1.", 960 << 10
    )
    l3_cache_per_thread: int = _cache(
        "L3CachePerThreadExL1L2",
        "Bytes of level 3 cache a thread has, not counting levels 1 and 2.",
        1408 << 10,
    )
    spans: Spans | None = _spans()


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor the caller supplies: float32, channels by height by width, fully packed, never written to."""

    to_tensor: str = _to()
    channels: int = _field("Channels", ValueType.POSITIVE, "Number of channels.")
    height: int = _field("Height", ValueType.POSITIVE, "Number of rows.")
    width: int = _field("Width", ValueType.POSITIVE, "Number of columns.")
    spans: Spans | None = _spans()


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor handed to the caller: float32, channels by height by width, fully packed, in the caller's memory."""

    from_tensor: str = _from()
    spans: Spans | None = _spans()


@dataclass(frozen=True, slots=True)
class Conv:
    """Two-dimensional cross-correlation with zero padding, plus a bias per output channel.

    Out height is `(H + 2*PaddingH - (1 + (FilterH-1)*DilationH)) / StrideH + 1`, rounded down, and the dividend must
    not be negative; likewise the width. Parameters: `<ToTensor>Weights`, ToChannels x Channels/Groups x FilterH x
    FilterW, and `<ToTensor>Biases`, ToChannels.
    """

    from_tensor: str = _from()
    to_tensor: str = _to()
    to_channels: int = _field("ToChannels", ValueType.POSITIVE, "Number of output channels, divisible by Groups.")
    filter_h: int = _geometry("FilterH", ValueType.POSITIVE, "Rows of the filter.")
    filter_w: int = _geometry("FilterW", ValueType.POSITIVE, "Columns of the filter.")
    stride_h: int = _geometry("StrideH", ValueType.POSITIVE, "Rows between neighbouring windows.", 1)
    stride_w: int = _geometry("StrideW", ValueType.POSITIVE, "Columns between neighbouring windows.", 1)
    padding_h: int = _geometry("PaddingH", ValueType.NATURAL, "Rows of zeros above, and as many below.", 0)
    padding_w: int = _geometry(
        "PaddingW", ValueType.NATURAL, "Columns of zeros on the left, and as many on the right.", 0
    )
    dilation_h: int = _geometry(
        "DilationH", ValueType.POSITIVE, "Rows between neighbouring filter taps; 1 is dense.", 1
    )
    dilation_w: int = _geometry("DilationW", ValueType.POSITIVE, "Columns between neighbouring taps; 1 is dense.", 1)
    groups: int = _field(
        "Groups",
        ValueType.POSITIVE,
        "Channels fall into this many groups that do not see each other; divides input and output channels.",
        1,
    )
    spans: Spans | None = _spans()


@dataclass(frozen=True, slots=True)
class FullyConnected:
    """Every output is a weighted sum of the whole input tensor plus a bias; the result is ToChannels x 1 x 1.

    Parameters: `<ToTensor>Weights`, ToChannels x Channels x Height x Width, and `<ToTensor>Biases`, ToChannels.
    """

    from_tensor: str = _from()
    to_tensor: str = _to()
    to_channels: int = _field("ToChannels", ValueType.POSITIVE, "Number of outputs.")
    spans: Spans | None = _spans()


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Batch normalization: `Scale * (x - Mean) / sqrt(Variance + Epsilon) + Shift` per channel, statistics given.

    Parameters, one value per channel each: `<ToTensor>Means`, `<ToTensor>Variances`, `<ToTensor>Scales` and
    `<ToTensor>Shifts`.
    """

    from_tensor: str = _from()
    to_tensor: str = _to()
    epsilon: float = _field("Epsilon", ValueType.NUMBER, "Added to every variance; must not be negative.", 0.00001)
    spans: Spans | None = _spans()


@dataclass(frozen=True, slots=True)
class Activation:
    """Element-wise function. ReLU: `x` where x > 0, otherwise `Param * x`."""

    from_tensor: str = _from()
    to_tensor: str = _to()
    kind: str = _field("Kind", ValueType.CHOICE, "Which function.", MISSING, ACTIVATIONS)
    param: float = _field("Param", ValueType.NUMBER, "Slope for x <= 0: 0 is ReLU, 0.1 a leaky ReLU.", 0.0)
    spans: Spans | None = _spans()


@dataclass(frozen=True, slots=True)
class Add:
    """Element-wise sum of two tensors of the same shape (which may be the same tensor)."""

    from_tensor1: str = _from("FromTensor1")
    from_tensor2: str = _from("FromTensor2")
    to_tensor: str = _to()
    spans: Spans | None = _spans()


@dataclass(frozen=True, slots=True)
class Concat:
    """The channels of FromTensor1 followed by those of FromTensor2; both have the same height and width."""

    from_tensor1: str = _from("FromTensor1")
    from_tensor2: str = _from("FromTensor2")
    to_tensor: str = _to()
    spans: Spans | None = _spans()


@dataclass(frozen=True, slots=True)
class Pooling:
    """Maximum or average over windows, channel by channel.

    Padding cells take no part: the maximum ignores them and the average divides by the number of real cells. The
    padding must be smaller than the window. Out height is `(H + 2*PaddingH - window) / 2 + 1`, rounded down. The global
    kinds take the whole tensor, allow no padding, and give a 1x1 result.
    """

    from_tensor: str = _from()
    to_tensor: str = _to()
    kind: str = _field("Kind", ValueType.CHOICE, "Operation, window and stride.", MISSING, POOLINGS)
    padding_h: int = _geometry("PaddingH", ValueType.NATURAL, "Rows of padding above, and as many below.", 0)
    padding_w: int = _geometry("PaddingW", ValueType.NATURAL, "Columns of padding left, and as many right.", 0)
    spans: Spans | None = _spans()

    @property
    def window(self) -> int | None:
        """Rows (and columns) of the window; None where it is the whole tensor."""
        return None if self.kind.endswith("Global") else int(self.kind[3])

    @property
    def is_max(self) -> bool:
        """Whether the node takes maxima rather than averages."""
        return self.kind.startswith("Max")


@dataclass(frozen=True, slots=True)
class Softmax:
    """`exp(x - max) / sum of exp(x - max)` over the channels, at every spatial position."""

    from_tensor: str = _from()
    to_tensor: str = _to()
    spans: Spans | None = _spans()


Layer: TypeAlias = Conv | FullyConnected | BatchNorm | Activation | Add | Concat | Pooling | Softmax
Node: TypeAlias = Config | Input | Output | Layer

KINDS: tuple[type[Node], ...] = (
    Config,
    Input,
    Output,
    Conv,
    FullyConnected,
    BatchNorm,
    Activation,
    Add,
    Concat,
    Pooling,
    Softmax,
)


def field_infos(kind: type[Node]) -> tuple[FieldInfo, ...]:
    """The fields of a node kind in documented order."""
    return tuple(FieldInfo(f.name, default=f.default, **f.metadata) for f in fields(kind) if f.metadata)


def tensors_read(node: Node) -> tuple[str, ...]:
    """Names of the tensors a node reads, in field order (Add and Concat may name one twice)."""
    match node:
        case Add() | Concat():
            return (node.from_tensor1, node.from_tensor2)
        case Config() | Input():
            return ()
        case _:
            return (node.from_tensor,)


def tensor_written(node: Node) -> str | None:
    """Name of the tensor a node produces; None for Config and Output."""
    return None if isinstance(node, Config | Output) else node.to_tensor
