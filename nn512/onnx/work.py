"""A model while it is read: what every ONNX tensor is, and the layers made so far.

Layers bear provisional names until it is known which of them lead to an output; the others are forgotten. A node that
cannot be read leaves a layer of no kind, so that reading goes on behind it, and is told if it leads to an output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from math import isfinite, prod
from typing import TypeAlias

import numpy as np

from nn512.arrays import Array
from nn512.graph import Activation, Binary, Input, Layer, Shape, ValueType, field_infos
from nn512.onnx import view
from nn512.onnx.model import OnnxNode, show
from nn512.onnx.refusal import Refusal, RefusedError
from nn512.onnx.view import Dim, Dims, Factor
from nn512.params import show_shape

MOST_PARAMETERS = 4 << 30
"""Most bytes that the parameters of one import may take."""


@dataclass(frozen=True, slots=True)
class Known:
    """A tensor that does not depend on any input."""

    array: Array


@dataclass(frozen=True, slots=True)
class Padding:
    """Zeros, or another value, around a tensor that the next layer may take in: before and behind every ONNX axis."""

    node: OnnxNode
    value: float
    pads: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the graph by its provisional name, as ONNX sees it. `moved` are the nodes that made it look so."""

    name: str
    dims: Dims
    moved: tuple[OnnxNode, ...] = ()
    padding: Padding | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The ONNX shape."""
        found = view.sizes(self.dims)
        if self.padding is None:
            return found
        return tuple(size + sum(pads) for size, pads in zip(found, self.padding.pads, strict=True))


@dataclass(frozen=True, slots=True)
class Lost:
    """A tensor of unknown shape, behind a node that cannot be read."""

    name: str


Value: TypeAlias = Known | Tensor | Lost


@dataclass(frozen=True, slots=True)
class Draft:
    """An input or a layer before it has its name; `node` is None where something could not be read.

    `tensor` and `stem` are what its name can be made of: the ONNX tensor, and the parameter it is for.
    """

    node: Layer | Input | None
    reads: tuple[str, ...]
    tensor: str
    params: Mapping[str, Array] = field(default_factory=dict)
    stem: str = ""
    refusal: Refusal | None = None
    fault: OnnxNode | None = None  # the node that was refused
    bare: bool = False  # a sum of products whose biases are not in the model

    @property
    def layer(self) -> Layer:
        """The layer of a draft that is one."""
        assert self.node is not None
        assert not isinstance(self.node, Input)
        return self.node


class Reading(Enum):
    """Where an input of the net has its channels: where its first reader takes them, or as its declared axes stand."""

    BY_READER = "by its first reader"
    FIRST = "channels first"
    LAST = "channels last"


class Work:
    """What rules work with. `readings` are by the name of an input in the model."""

    def __init__(
        self,
        opset: int,
        infer: Callable[[OnnxNode, Sequence[object]], Sequence[object]] | None,
        readings: Mapping[str, Reading],
    ) -> None:
        self.opset = opset
        self._readings = readings
        self.values: dict[str, Value] = {}
        self.readers: dict[str, int] = {}
        self.drafts: dict[str, Draft] = {}
        self.shapes: dict[str, Shape] = {}
        self.open: dict[str, dict[Factor, Factor] | None] = {}
        """Inputs whose axes are not yet those of a C x H x W tensor (None), or how they became so."""
        self.last_channels: set[str] = set()
        self._declared: dict[str, Dims] = {}
        self._infer = infer
        self._bytes = 0

    # --- what a node reads ------------------------------------------------------------------------------------------

    def value(self, node: OnnxNode, index: int) -> Value:
        """What the input of that number is."""
        if not node.has(index):
            raise RefusedError(f"input {index} is missing", "nodes with all their inputs")
        return self.values[node.reads[index]]

    def constant(self, node: OnnxNode, index: int, what: str) -> Array:
        """An input that must not depend on the net's inputs."""
        found = self.value(node, index)
        if isinstance(found, Known):
            return found.array
        lost = isinstance(found, Lost) or not self.is_computed(found)
        raise RefusedError(f"{what} ({node.reads[index]!r}) depend on an input", "constants", soft=lost)

    def tensor(self, node: OnnxNode, index: int = 0, *, rows: bool = False) -> Tensor:
        """An input that is a tensor of the graph, with nothing around it, arranged as C x H x W.

        An input of the net whose axes are open yet becomes one whose channels are last, if `rows` are what is read.
        """
        found = self.any_tensor(node, index, rows=rows)
        if found.padding is not None:
            found = self._refuse_padding(found)
            self.values[node.reads[index]] = found
        return found

    def any_tensor(self, node: OnnxNode, index: int = 0, *, rows: bool = False) -> Tensor:
        """The same, which may have padding around it."""
        found = self.value(node, index)
        if isinstance(found, Known):
            raise RefusedError(f"input {node.reads[index]!r} is a constant", "what depends on an input of the net")
        if isinstance(found, Lost):
            raise RefusedError("the shape of what it reads is unknown", "known shapes", soft=True)
        return self.settled(found, rows=rows)

    def image(self, node: OnnxNode, index: int = 0, *, padded: bool = False) -> Tensor:
        """The same, that ONNX sees as 1 x C x H x W or 1 x C x W."""
        found = self.any_tensor(node, index) if padded else self.tensor(node, index)
        rank = len(found.dims)
        if rank not in {3, 4}:
            raise RefusedError(f"what it reads is {show_shape(found.shape)}", "1 x C x H x W or 1 x C x W", soft=True)
        if found.dims[0]:
            raise RefusedError(f"what it reads is {show_shape(found.shape)}", "a batch of 1", soft=True)
        if found.dims != view.usual(self.shapes[found.name], rank):
            raise self.misplaced(found, "channels, rows and columns")
        return found

    def misplaced(self, tensor: Tensor, wanted: str) -> RefusedError:
        """What to say of a tensor whose axes are not where they should be."""
        moved = ", ".join(dict.fromkeys(node.operator for node in tensor.moved))
        behind = f" behind {moved}" if moved else ""
        shape = show_shape(tensor.shape)
        return RefusedError(f"what it reads, {shape}{behind}, is not arranged as {wanted}", f"{wanted}", soft=True)

    # --- inputs of the net ------------------------------------------------------------------------------------------

    def add_input(self, tensor: str, shape: Sequence[int], *, last_channels: bool) -> Tensor:
        """An input of the net, whose axes get their meaning from the first layer that reads it."""
        name = self._name()
        dims = tuple(view.whole(str(axis), size) for axis, size in enumerate(shape))
        self.drafts[name] = Draft(None, (), tensor)
        self.open[name], self._declared[name] = None, dims
        if last_channels:
            self.last_channels.add(name)
        return Tensor(name, dims)

    def settled(self, tensor: Tensor, *, rows: bool = False) -> Tensor:
        """The same tensor, in the axes C, H and W."""
        if tensor.name not in self.open:
            return tensor
        if self.open[tensor.name] is None:
            self._settle(tensor, rows=rows)
        dims = self._settled_dims(tensor)
        if dims is None:
            raise self.misplaced(tensor, "another reader of this input has it")
        return replace(tensor, dims=dims)

    def as_settled(self, tensor: Tensor) -> Tensor:
        """The same tensor, in the axes C, H and W if those of an input are known by now."""
        dims = self._settled_dims(tensor) if self.open.get(tensor.name) is not None else None
        return tensor if dims is None else replace(tensor, dims=dims)

    def _settled_dims(self, tensor: Tensor) -> Dims | None:
        """The ONNX axes of a tensor that has its shape, in the axes C, H and W; None where they are made of others."""
        if all(factor.axis in view.AXES for dim in tensor.dims for factor in dim):
            return tensor.dims
        known = self.open[tensor.name]
        assert known is not None
        dims = []
        for dim in tensor.dims:
            parts = [_mapped(factor, known) for factor in dim]
            if not all(parts):
                return None
            dims.append(view.merged([part for found in parts for part in found]))
        return tuple(dims)

    def _settle(self, tensor: Tensor, *, rows: bool) -> None:
        """Give an input its shape: the tensor is the first view that a layer reads.

        One that is flattened keeps the axes that it was declared with, and so does one whose channels are shuffled, or
        were turned to the end.
        """
        reading = self._readings.get(self.drafts[tensor.name].tensor, Reading.BY_READER)
        if reading is not Reading.BY_READER:
            dims = self._declared[tensor.name]
            self._give_axes(tensor.name, _by_row(dims) if reading is Reading.LAST else _by_rank(dims))
            return
        dims = tensor.dims
        turned = rows and any(node.operator == "Transpose" for node in tensor.moved)
        declared = len(self._declared[tensor.name])
        if len(dims) < 3 <= declared or (declared in {3, 4} and (turned or view.scrambled(dims))):
            dims, rows = self._declared[tensor.name], False
        rank = len(dims)
        axes = [factor.axis for dim in dims for factor in dim]  # those of extent 1 are not there
        turned = axes != sorted(axes) or any(node.operator == "Transpose" for node in tensor.moved)
        if tensor.name in self.last_channels and rank > 2 and not turned:
            dims = (dims[0], dims[-1], *dims[1:-1])
        self._give_axes(tensor.name, _by_row(dims) if rows and rank > 2 else _by_rank(dims))

    def _give_axes(self, name: str, axes: tuple[Dim, Dim, Dim]) -> None:
        """Make an input of these channels, rows and columns."""
        known: dict[Factor, Factor] = {}
        extents = []
        for axis, dim in zip(view.AXES, axes, strict=True):
            stride = prod(factor.size for factor in dim)
            extents.append(stride)
            for factor in dim:
                stride //= factor.size
                known[factor] = Factor(axis, factor.size, stride)
        shape = Shape(*extents)
        self.open[name] = known
        self.shapes[name] = shape
        draft = self.drafts[name]
        if draft.refusal is None and not draft.reads:
            self.drafts[name] = replace(draft, node=Input(name, *shape))

    def inputs_of_rank(self, *ranks: int) -> list[str]:
        """The inputs that some layer reads, by their names in the model, of so many declared axes."""
        made = {name: draft for name, draft in self.drafts.items() if isinstance(draft.node, Input)}
        return [draft.tensor for name, draft in made.items() if len(self._declared[name]) in ranks]

    # --- layers -----------------------------------------------------------------------------------------------------

    def emit(
        self,
        node: OnnxNode,
        make: Callable[[str], Layer],
        params: Mapping[str, Array] | None = None,
        *,
        stem: str = "",
        bare: bool = False,
        writes: str | None = None,
    ) -> str:
        """A layer that `make` makes under the name it is given; the name.

        `params` are by suffix. Raises RefusedError where the language has no such layer.
        """
        name = self._name()
        layer = make(name)
        for info in field_infos(type(layer)):
            value = getattr(layer, info.attribute)
            if info.type in {ValueType.POSITIVE, ValueType.NATURAL} and info.applies(layer.choice):
                least = 1 if info.type is ValueType.POSITIVE else 0
                if not least <= value <= info.limit:
                    raise RefusedError(f"{info.name} would be {value}", f"{least} to {info.limit:,}")
            if isinstance(value, float) and not isfinite(value):
                raise RefusedError(f"{info.name} would be {value}", "finite numbers")
        complaint = next(iter(layer.mistakes(self.shapes)), None)
        if complaint is not None:
            raise RefusedError(complaint.message.replace(repr(layer.reads[0]), "what it reads"), "layers that fit")
        shape = layer.shape(self.shapes)
        wanted = layer.parameter_shapes({**{read: self.shapes[read] for read in layer.reads}, name: shape})
        arrays: dict[str, Array] = {}
        for kind, extents in zip(layer.parameter_kinds, wanted, strict=True):
            self._bytes += 4 * prod(extents)
            if self._bytes > MOST_PARAMETERS:
                raise RefusedError("the parameters are too large", f"{MOST_PARAMETERS:,} bytes in all")
            with np.errstate(over="ignore", invalid="ignore"):
                array = np.asarray((params or {})[kind.suffix]).astype(np.float32, copy=False)
            if array.size != prod(extents):
                told = f"{kind.suffix} have {array.size:,} numbers"
                raise RefusedError(told, f"{show_shape(extents)}, which is {prod(extents):,}")
            arrays[kind.suffix] = array.reshape(extents)
        self.shapes[name] = shape
        self.drafts[name] = Draft(layer, layer.reads, writes or node.writes[0], arrays, stem, bare=bare)
        return name

    def image_of(self, name: str, rank: int) -> Tensor:
        """A layer's tensor as 1 x C x H x W, or as ONNX sees it at a lower rank."""
        dims = view.usual(self.shapes[name], rank)
        assert dims is not None
        return Tensor(name, dims)

    def alone_behind(self, node: OnnxNode, tensor: Tensor) -> Draft | None:
        """The layer whose tensor the node reads, if it is the only one that does."""
        names = [name for name in node.reads if name and self.values[name] == tensor]
        draft = self.drafts[tensor.name]
        readers = {self.readers.get(name) for name in (*names, draft.tensor)}
        return draft if len(names) == 1 and readers == {1} else None

    def is_positive(self, name: str) -> bool:
        """Whether no element of a tensor can be below 0."""
        node = self.drafts[name].node
        return isinstance(node, Activation) and (
            (node.kind == "ReLU" and node.param == 0)
            or (node.kind == "Clip" and node.min >= 0)
            or node.kind in ("HardSigmoid", "Sigmoid")
        )

    # --- what cannot be read ----------------------------------------------------------------------------------------

    def refuse(self, node: OnnxNode, error: RefusedError | None, shapes: Sequence[object] | None = None) -> list[Value]:
        """What a node writes that was refused, or that depends on one (`error` is None)."""
        read = [self.values[name] for name in node.reads if name]
        tensors = [value for value in read if isinstance(value, Tensor)]
        reads = tuple(value.name for value in read if isinstance(value, Tensor | Lost))
        if shapes is None:
            shapes = self._infer(node, [shape_of(v) for v in self._inputs(node)]) if self._infer is not None else ()
        refusal = None if error is None else Refusal(node.operator, node.label, error.what, error.accepted, node.module)
        results: list[Value] = []
        for index, written in enumerate(node.writes):
            name = self._name()
            self.drafts[name] = Draft(None, reads, written, refusal=refusal, fault=node)
            shape = shapes[index] if index < len(shapes) else None
            results.append(self._stand_in(name, shape, tensors))
        return results

    def _inputs(self, node: OnnxNode) -> list[Value | None]:
        return [self.values[name] if name else None for name in node.reads]

    def _stand_in(self, name: str, shape: object, tensors: Iterable[Tensor]) -> Value:
        """A tensor of that shape in place of one that nobody computes, arranged as one of those read if it can be."""
        if not isinstance(shape, tuple):
            return Lost(name)
        for tensor in tensors:
            if tensor.name in self.shapes and tensor.padding is None and view.sizes(tensor.dims) == shape:
                settled = self._settled_dims(tensor)
                if settled is not None:
                    self.shapes[name] = self.shapes[tensor.name]
                    return Tensor(name, settled)
        dims = tuple(view.whole(str(axis), size) for axis, size in enumerate(shape))
        self.open[name], self._declared[name] = None, dims
        return Tensor(name, dims)

    def refuse_moves(self, name: str, tensor: Tensor) -> Value:
        """The tensor in place of one that nodes arranged as no layer can read it; the last Transpose is to blame."""
        turns = [node for node in tensor.moved if node.operator == "Transpose"]
        node = turns[-1] if turns else tensor.moved[-1]
        told = f"perm={show(node.attributes.get('perm', ''))}" if turns else f"to {show_shape(tensor.shape)}"
        what = f"{told}: what reads {name!r} would need the numbers moved"
        accepted = "axes that the next layer can read as they stand"
        refusal = Refusal(node.operator, node.label, what, accepted, node.module)
        stand_in = self._name()
        self.drafts[stand_in] = Draft(None, (tensor.name,), name, refusal=refusal, fault=node)
        return self._stand_in(stand_in, tensor.shape, ())

    def _refuse_padding(self, tensor: Tensor) -> Tensor:
        """The tensor in place of one whose padding no reader takes in."""
        assert tensor.padding is not None
        node = tensor.padding.node
        error = RefusedError("what reads it is no convolution or pooling that could pad", "before Conv or pooling")
        (found,) = self.refuse(node, error, [tensor.shape])[:1]
        assert isinstance(found, Tensor)
        return self.settled(found)

    def is_sound(self, node: OnnxNode) -> bool:
        """Whether everything that a node reads was read, and is arranged as the model says."""
        values = [self.values[name] for name in node.reads if name]
        return all(isinstance(v, Known) or (isinstance(v, Tensor) and not self.is_guessed(v)) for v in values)

    def is_computed(self, tensor: Tensor) -> bool:
        """Whether a tensor is an input or what a layer computes, and no stand-in."""
        draft = self.drafts[tensor.name]
        return draft.node is not None or (tensor.name in self.open and not draft.reads and draft.refusal is None)

    def is_guessed(self, tensor: Tensor) -> bool:
        """Whether its arrangement is that of a stand-in, which layers of single elements hand on."""
        waiting, seen = [tensor.name], set[str]()
        while waiting:
            name = waiting.pop()
            draft = self.drafts[name]
            if draft.node is None and (draft.reads or draft.refusal is not None):
                return True
            if isinstance(draft.node, Activation | Binary) and name not in seen:
                seen.add(name)
                waiting += draft.reads
        return False

    def _name(self) -> str:
        return f"t{len(self.drafts)}"


def _by_row(dims: Dims) -> tuple[Dim, Dim, Dim]:
    """Channels, rows and columns of an input whose last axis is what a matrix multiplies: the pixels are all others."""
    pixels = [factor for dim in dims[:-1] for factor in dim]
    return dims[-1], tuple(pixels[:-1]), tuple(pixels[-1:])


def _mapped(factor: Factor, known: Mapping[Factor, Factor]) -> list[Factor]:
    """What part of an input's axis is in C, H and W, the slowest first: of several known parts, or within one."""
    end = factor.stride * factor.size
    inside = [f for f in known if f.axis == factor.axis and factor.stride <= f.stride and f.stride * f.size <= end]
    inside.sort(key=lambda f: -f.stride)
    if view.merged(inside) == (factor,):
        return [known[part] for part in inside]
    for whole, ours in known.items():
        steps, left = divmod(factor.stride, whole.stride)
        if whole.axis == factor.axis and not left and end <= whole.stride * whole.size:
            return [Factor(ours.axis, factor.size, ours.stride * steps)]
    return []


def _by_rank(dims: Dims) -> tuple[Dim, Dim, Dim]:
    """Channels, rows and columns of an input: those of 1 x C x H x W, 1 x C x W or 1 x C.

    Of any other shape the last two axes are rows and columns, and all before them together are channels, which is right
    for what works on single elements.
    """
    rank = len(dims)
    if rank in {2, 3} and not dims[0]:
        return dims[1], (), dims[2] if rank == 3 else ()
    leading = max(rank - 2, min(rank, 1))
    rows = dims[leading] if rank - leading == 2 else ()
    columns = dims[-1] if rank > leading else ()
    return tuple(factor for dim in dims[:leading] for factor in dim), rows, columns


def shape_of(value: Value | None) -> object:
    """The shape of a value, or the constant itself: what shape inference is told."""
    match value:
        case Known():
            return value.array
        case Tensor():
            return value.shape
        case _:
            return None
