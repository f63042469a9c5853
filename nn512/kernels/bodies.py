"""The function of a convolution, and the body that it may share with others.

Convolutions of one shape occur dozens of times in a deep net. Where two or more would have the same body but for the
names of tensors and weights, it is emitted once, as a shared routine whose parameters have neutral names, and every
layer's function calls it; it is inlined there, so that the object has what it would have otherwise. A body that occurs
once stands in the function of its layer, under the names of the user.

Layers of 1x1 convolutions with element-wise steps before them share a body even if they read different numbers of
channels, as those of a dense block do: then these are a parameter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass

from nn512.cgen import names
from nn512.cgen.writer import Writer, sentence
from nn512.graph.nodes import BatchNorm, Conv
from nn512.kernels.conv_cost import is_pointwise, weights_are_less
from nn512.kernels.epilogue import Chain, affine_pointer
from nn512.kernels.layer import (
    Context,
    Place,
    Sharing,
    begin_step,
    declare_tensor,
    step_signature,
    tensor_address,
    tensor_pointer,
)
from nn512.kernels.packing import norm_field
from nn512.passes.program import ConvOp, ElementwiseOp, Op
from nn512.plan.layout import LANES


def shared_bodies(ops: Iterable[Op], context: Context) -> dict[str, Sharing]:
    """Every step function that is not the only one with its body, and what those that share it differ in."""
    groups: dict[Hashable, dict[str, int]] = {}
    for op in ops:
        for name, key, blocks in _steps(op, context):
            groups.setdefault(key, {})[name] = blocks
    alike = [group for group in groups.values() if len(group) > 1]
    sharing = [Sharing(max(group.values()), len(set(group.values())) > 1) for group in alike]
    return {name: shared for group, shared in zip(alike, sharing, strict=True) for name in group}


def _steps(op: Op, context: Context) -> Iterator[tuple[str, Hashable, int]]:
    """For the step functions of an operation: name, all that the body depends on but for names, and blocks read.

    The body of a chain of element-wise steps does not depend on their number.
    """
    match op:
        case ConvOp():
            name = op.branches[0].writes
            scratch = context.choices[name].kernel.scratch
            source = context.places[f"{name}_input" if op.prologue and scratch else op.source]
            if op.prologue and scratch:
                yield from _chain_step(Chain(op.prologue), source)
            if len(op.branches) == 1:
                yield name, _conv_key(op, context, source), source.layout.block_count
        case ElementwiseOp():
            yield from _chain_step(Chain(op.steps), context.places[op.writes])
        case _:
            pass


def _chain_step(steps: Chain, result: Place) -> Iterator[tuple[str, Hashable, int]]:
    """The step that applies a chain to a whole tensor; additions are too rare to be worth sharing."""
    if not steps.operands:
        yield result.name, (result.shape.height, result.shape.width, steps.neutral), 0


def _conv_key(op: ConvOp, context: Context, source: Place) -> Hashable:
    """All that the body of a convolution depends on, but for names."""
    (branch,) = op.branches
    kernel = context.choices[branch.writes].kernel
    result, layout = context.places[branch.writes], source.layout
    before = Chain(() if kernel.scratch else op.prologue)
    dense = op.prologue and is_pointwise(op) and branch.node.groups == 1
    parametric = dense and layout.regular and layout.lanes == LANES and source.shape.channels % LANES == 0
    return (
        kernel.name,
        dataclasses.replace(branch.node, from_tensor="", to_tensor=""),
        op.zeros,
        (source.shape.height, source.shape.width, layout.lanes),
        _depends_on_channels(op, context, source) if parametric else layout.merged,
        result.shape,
        before.neutral,
        Chain(branch.epilogue).neutral,
    )


def _depends_on_channels(op: ConvOp, context: Context, source: Place) -> Hashable:
    """What a body that has channels as a parameter depends on, and changes with their number."""
    own = op.source != source.name  # no steps in tiles, which would bring it near
    return weights_are_less(op, context, source), own and source.bytes > context.machine.l2_bytes


@dataclass(frozen=True, slots=True)
class StepFunction:
    """A step function while it is written: what it reads and writes, and what that is called in its body.

    `before` are steps on what tiles read, `after` those of each result; `nodes` are the convolutions between them, if
    any. `flat` says that a picture is one row of pixels, `net` that a body of its own has a pointer to the parameters.
    """

    context: Context
    source: Place
    nodes: tuple[Conv, ...]
    results: tuple[Place, ...]
    before: Chain
    after: tuple[Chain, ...]
    flat: bool
    net: bool

    @property
    def name(self) -> str:
        """The name of the step, that of its first result."""
        return self.results[0].name

    @property
    def sharing(self) -> Sharing | None:
        """What steps that share the body differ in; None for a body of the step's own."""
        return self.context.bodies.get(self.name)

    @property
    def varying(self) -> bool:
        """Whether these read different numbers of channels."""
        return self.sharing is not None and self.sharing.varying

    def tensor(self, place: Place) -> str:
        """The pointer to the source or to a result."""
        if self.sharing:
            return "source" if place is self.source else "result"
        return names.local(place.name)

    def weights_of(self, node: Conv) -> str:
        """The pointer to the packed weights of a convolution."""
        return "weights" if self.sharing else self._weights(node)

    def biases_of(self, node: Conv) -> str:
        """The pointer to its biases."""
        return "biases" if self.sharing else self._biases(node)

    def _weights(self, node: Conv) -> str:
        return f"{self._net}->{node.to_tensor}Weights"

    def _biases(self, node: Conv) -> str:
        return f"{self._net}->{node.to_tensor}Biases"

    @property
    def _names_net(self) -> bool:
        """Whether the function has a pointer to the parameters: if the body needs it, or for more than two arrays."""
        if not self.sharing:
            return self.net
        norms = sum(isinstance(read, BatchNorm) for _, read in self._inputs())
        return 2 * len(self.nodes) + norms > 2

    @property
    def _net(self) -> str:
        return "net" if self._names_net else "engine->net"

    def _inputs(self) -> Iterator[tuple[str, BatchNorm | str]]:
        """What the steps read."""
        return (entry for chain in (self.before, *self.after) for entry in chain.inputs())

    def write(self, writer: Writer, hint: str, description: str, write_body: Callable[[Writer], None]) -> None:
        """Write the function; `hint` is the name of a shared body, unless another has it, `description` its comment."""
        prefix = self.context.prefix
        with writer.block(step_signature(prefix, self.name)):
            begin_step(writer, prefix)
            if self._names_net:
                writer.line(f"const {prefix}Net *net = engine->net;")
            if self.sharing:
                self._write_call(writer, hint, description, write_body)
                return
            operands = (read for _, read in self._inputs() if isinstance(read, str))
            for name in dict.fromkeys((self.source.name, *operands)):
                declare_tensor(writer, self.context.places[name], written=False, flat=self.flat)
            for result in self.results:
                declare_tensor(writer, result, written=True, flat=self.flat)
            write_body(writer)

    def _write_call(self, writer: Writer, hint: str, description: str, write_body: Callable[[Writer], None]) -> None:
        parameters, arguments = zip(*self._operands(), strict=True)

        def write(name: str) -> str:
            routine = Writer()
            routine.comment(description)
            routine.statement(f"static INLINE void {name}", parameters, " {")
            with routine.indented():
                write_body(routine)
            routine.line("}")
            return routine.text()

        writer.statement(self.context.library.add(hint, write), arguments, ";")

    def hint(self, word: str) -> str:
        """Name of a shared body of a convolution; `word` says of which kind."""
        node, after = self.nodes[0], self.after[0]
        stride = f"s{node.stride_w}" if node.stride_w > 1 else ""
        dilation = f"d{node.dilation_w}" if node.dilation_w > 1 else ""
        filter_ = f"{node.filter_h}x{node.filter_w}{stride}{dilation}"
        convolution = f"{word}{filter_}_{self._picture}_to_{node.to_channels}"
        return f"{self.before.suffix}_{convolution}".removeprefix("_") + after.suffix

    def description(self, how: str) -> str:
        """What a shared body of a convolution computes, and `how`."""
        node, after, result = self.nodes[0], self.after[0], self.results[0]
        groups = f" in {node.groups} groups" if node.groups > 1 else ""
        convolution = f"{node.filter_h}x{node.filter_w} convolution{groups}"
        steps = ", ".join((*self.before.description, convolution, *after.description))
        read = f"channels x {self._picture}" if self.varying else self._picture
        return f"{sentence(steps)}, {read} -> {result.shape}: {how}."

    @property
    def _picture(self) -> str:
        """The shape of what is read; without the channels where they vary."""
        shape = self.source.shape
        return f"{shape.height}x{shape.width}" if self.varying else str(shape)

    def _operands(self) -> Iterator[tuple[str, str]]:
        """Declarations of the body's parameters, and what the layer passes."""
        (result,) = self.results
        yield tensor_pointer(self.source, "source", written=False, flat=self.flat), tensor_address(self.source)
        yield tensor_pointer(result, "result", written=True, flat=self.flat), tensor_address(result)
        for node in self.nodes:
            yield "const float *restrict weights", self._weights(node)
            yield "const float *restrict biases", self._biases(node)
        for name, read in self._inputs():
            if isinstance(read, BatchNorm):
                yield affine_pointer(name), f"{self._net}->{norm_field(read)}"
            else:
                place = self.context.places[read]
                yield tensor_pointer(place, name, written=False, flat=self.flat), tensor_address(place)
        if self.varying:
            yield "ptrdiff_t channels", str(self.source.shape.channels)
        yield from (("ptrdiff_t first", "first"), ("ptrdiff_t last", "last"))
