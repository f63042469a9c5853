"""The function of a convolution, and the body that it may share with others.

Convolutions of one shape occur dozens of times in a deep net. Where two or more have the same body but for the names of
tensors and weights, it is emitted once, as a shared routine whose parameters have neutral names, and every layer's
function calls it; it is inlined there, so that the object has what it would have otherwise. A body that occurs once
stands in the function of its layer, under the names of the user.

Which bodies are the same is found by writing all of them under neutral names first and comparing the texts.

Layers of 1x1 convolutions with element-wise steps before them share a body even if they read different numbers of
channels, as those of a dense block do: then these are a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nn512.cgen import names
from nn512.cgen.expressions import ZERO, Expression, Name
from nn512.cgen.writer import Writer, sentence
from nn512.graph.nodes import Conv, FullyConnected
from nn512.ir.decision import Decision
from nn512.kernels.chain import ChainCode, Operand, Parameters
from nn512.kernels.interface import Context, Place
from nn512.kernels.layer import (
    THREAD_MEMORY,
    begin_step,
    declare_tensor,
    step_signature,
    tensor_address,
    tensor_pointer,
)
from nn512.kernels.sharing import Sharing
from nn512.plan.layout import LANES


class Body(Decision):
    """Whose the body of a step function is."""

    OWN = "no other step has the same body"
    LONE = "several results, or sums of whole tensors, which share no body"
    SHARED = "a body is that of other layers, too"
    VARYING = "a body is that of layers that read other numbers of channels, too"


@dataclass(frozen=True, slots=True)
class StepFunction:
    """A step function while it is written: what it reads and writes, and what that is called in its body.

    `before` are steps on what tiles read, `after` those of each result; `nodes` are the convolutions between them, if
    any. `flat` says that a picture is one row of pixels, `net` that a body of its own has a pointer to the parameters,
    `parametric` that a body can have the channels that it reads as a parameter. `buffer` declares a pointer to the
    thread's own working memory, if the body needs that. `arrays` are the packed arrays of each convolution that the
    body reads, by the end of their names, with the type of their elements. `target` is that of `step_signature`.
    """

    context: Context
    source: Place
    nodes: tuple[Conv, ...]
    results: tuple[Place, ...]
    before: ChainCode
    after: tuple[ChainCode, ...]
    flat: bool
    net: bool
    parametric: bool = False
    buffer: str = ""
    arrays: tuple[tuple[str, str], ...] = (("Weights", "float"), ("Biases", "float"))
    target: str = ""

    @property
    def name(self) -> str:
        """The name of the step, that of its first result."""
        return self.results[0].name

    @property
    def sharing(self) -> Sharing | None:
        """What steps that share the body differ in; None for a body of the step's own."""
        if self.context.candidates is not None:
            return Sharing(0, self.parametric)
        return self.context.bodies.get(self.name)

    @property
    def _may_share(self) -> bool:
        """Whether others can have the same body; sums of whole tensors and the like are too rare to be worth it."""
        chains_alone = not self.nodes
        return len(self.results) == 1 and not (chains_alone and any(chain.operands for chain in self.after))

    @property
    def _whose(self) -> Body:
        if self.sharing:
            return Body.VARYING if self.varying else Body.SHARED
        return Body.OWN if self._may_share else Body.LONE

    @property
    def varying(self) -> bool:
        """Whether these read different numbers of channels."""
        return self.sharing is not None and self.sharing.varying

    def tensor(self, place: Place) -> Name:
        """The pointer to the source or to a result."""
        if self.sharing:
            return Name("source" if place is self.source else "result")
        return Name(names.local(place.name))

    def result_at(self, result: Place, block: Expression, *pixel: Expression) -> Expression:
        """Where a block of a result is at a pixel; of pairs, each second one is the upper half of a block of them."""
        if not result.pairs:
            return self.tensor(result).at(block, *pixel)
        half = self.tensor(result).at(block // 2, *pixel)
        upper = block % 2
        return half if upper == ZERO else half.offset(upper * (LANES // 2))

    def weights_of(self, node: Conv | FullyConnected) -> Name:
        """The pointer to the packed weights of a convolution."""
        return self.array_of(node, "Weights")

    def biases_of(self, node: Conv | FullyConnected) -> Name:
        """The pointer to its biases."""
        return self.array_of(node, "Biases")

    def array_of(self, node: Conv | FullyConnected, array: str) -> Name:
        """The pointer to a packed array of a convolution, by the end of its name."""
        return Name(array.lower() if self.sharing else self._packed(node, array))

    def _packed(self, node: Conv | FullyConnected, array: str) -> str:
        return f"{self._net}->{node.to_tensor}{array}"

    @property
    def _names_net(self) -> bool:
        """Whether the function has a pointer to the parameters: if the body needs it, or for more than two arrays."""
        if not self.sharing:
            return self.net
        norms = sum(isinstance(read, Parameters) for _, read in self._inputs())
        return len(self.arrays) * len(self.nodes) + norms > 2

    @property
    def _net(self) -> str:
        return "net" if self._names_net else "engine->net"

    def _inputs(self) -> Iterator[tuple[str, Parameters | Operand]]:
        """What the steps read."""
        return (entry for chain in (self.before, *self.after) for entry in chain.inputs())

    def write(self, writer: Writer, hint: str, description: str, write_body: Callable[[Writer], None]) -> None:
        """Write the function; `hint` is the name of a shared body, unless another has it, `description` its comment."""
        prefix, candidates = self.context.prefix, self.context.candidates
        if candidates is not None:
            if self._may_share:
                blocks = self.source.layout.block_count if self.parametric else 0
                candidates.add(self.name, self._body(hint, description, write_body), blocks)
            return
        self.context.decided(self._whose)
        with writer.block(step_signature(prefix, self.name, self.target)):
            begin_step(writer, prefix)
            if self._names_net:
                writer.line(f"const {prefix}Net *net = engine->net;")
            if self.sharing:
                self._write_call(writer, hint, description, write_body)
                return
            operands = (read.tensor for _, read in self._inputs() if isinstance(read, Operand))
            for name in dict.fromkeys((self.source.name, *operands)):
                declare_tensor(writer, self.context.places[name], written=False, flat=self.flat)
            for result in self.results:
                declare_tensor(writer, result.stored, written=True, flat=self.flat)
            if self.buffer:
                writer.assign(self.buffer, THREAD_MEMORY)
            write_body(writer)

    def _write_call(self, writer: Writer, hint: str, description: str, write_body: Callable[[Writer], None]) -> None:
        arguments = (argument for _, argument in self._operands())
        name = self.context.library.add(hint, lambda name: self._body(name, description, write_body), self.sharing)
        writer.statement(name, arguments, ";")

    def _body(self, name: str, description: str, write_body: Callable[[Writer], None]) -> str:
        """The text of the body as a shared routine."""
        writer = Writer()
        writer.comment(description)
        parameters = (parameter for parameter, _ in self._operands())
        writer.statement(f"static INLINE {self.target}void {name}", parameters, " {")
        with writer.indented():
            write_body(writer)
        writer.line("}")
        return writer.text()

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
        yield (
            tensor_pointer(self.source, "source", written=False, flat=self.flat),
            tensor_address(self.source, flat=self.flat),
        )
        yield (
            tensor_pointer(result.stored, "result", written=True, flat=self.flat),
            tensor_address(result.stored, flat=self.flat),
        )
        for node in self.nodes:
            for array, element in self.arrays:
                yield f"const {element} *restrict {array.lower()}", self._packed(node, array)
        for name, read in self._inputs():
            if isinstance(read, Parameters):
                yield read.pointer(name), f"{self._net}->{read.field}"
            else:
                place = self.context.places[read.tensor]
                yield tensor_pointer(place, name, written=False, flat=self.flat), tensor_address(place, flat=self.flat)
        if self.buffer:
            yield self.buffer, THREAD_MEMORY
        if self.varying:
            yield "ptrdiff_t channels", str(self.source.shape.channels)
        yield "Share share", "share"
