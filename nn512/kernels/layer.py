"""What a kernel needs to know to emit one layer, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field

from nn512.cgen import names
from nn512.cgen.expressions import Constant, Expression, extent
from nn512.cgen.writer import Writer
from nn512.graph.graph import Graph
from nn512.graph.nodes import Shape
from nn512.ir import ConvOp
from nn512.plan.cost import Machine, Work
from nn512.plan.layout import Layout


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor in memory: its shape and layout, and where it begins in the arena, in vectors of 64 bytes.

    A tensor of the caller is not in the arena: `caller` is the field of the engine that points to it.
    """

    name: str
    shape: Shape
    layout: Layout
    offset: int
    caller: str = ""

    @property
    def bytes(self) -> int:
        """Size of the tensor, lanes without a channel included."""
        return 64 * self.layout.vectors(self.shape.pixels)


@dataclass(frozen=True, slots=True)
class WeightField:
    """One array of the packed weights: its extents as they are written in C, and its number of elements."""

    name: str
    extents: str
    elements: int
    element: str = "float"

    @property
    def bytes(self) -> int:
        """Size of the array."""
        return self.elements * {"float": 4, "uint16_t": 2}[self.element]


@dataclass(frozen=True, slots=True)
class PackCall:
    """A call of a shared packing routine: its name, the values of its arguments, items of work."""

    routine: str
    arguments: tuple[str, ...]
    items: int


@dataclass(frozen=True, slots=True)
class Routine:
    """A function of the emitted file that several layers share: identical text is emitted once."""

    name: str
    text: str


class Library:
    """Collects shared routines in the order of their first use and gives each a name of its own."""

    def __init__(self) -> None:
        self._by_body: dict[tuple[str, str], str] = {}
        self._by_key: dict[Hashable, str] = {}
        self._taken: dict[str, int] = {}
        self._routines: list[Routine] = []

    def add(self, hint: str, write: Callable[[str], str], key: Hashable = None) -> str:
        """Name of the routine that `write(name)` gives the text of; `hint` is its name unless another text has it.

        Texts with the same `key` are equal, and are written once.
        """
        if key is not None and key in self._by_key:
            return self._by_key[key]
        body = (hint, write(hint))
        if body not in self._by_body:
            number = self._taken.get(hint, 0) + 1
            self._taken[hint] = number
            name = hint if number == 1 else f"{hint}_{number}"
            self._by_body[body] = name
            self._routines.append(Routine(name, body[1] if name == hint else write(name)))
        if key is not None:
            self._by_key[key] = self._by_body[body]
        return self._by_body[body]

    def __iter__(self) -> Iterator[Routine]:
        return iter(self._routines)


@dataclass(frozen=True, slots=True)
class Sharing:
    """What several step functions with the same body differ in, besides names: how many blocks of channels they read.

    If there are several numbers (`varying`), of which `most_blocks` is the largest, the body has a parameter for the
    channels. `body` tells it from others.
    """

    body: int
    most_blocks: Expression
    varying: bool


class Candidates:
    """Bodies of step functions as texts under neutral names, and whose they are: equal texts are worth sharing."""

    def __init__(self) -> None:
        self._users: dict[str, dict[str, int]] = {}

    def add(self, step: str, body: str, blocks: int) -> None:
        """Note the body of a step, with the number of blocks that it reads as a parameter if it can have one."""
        self._users.setdefault(body, {})[step] = blocks

    def shared(self) -> dict[str, Sharing]:
        """Every step that is not the only one with its body, and what those that share it differ in."""
        alike = [users for users in self._users.values() if len(users) > 1]
        return {
            step: Sharing(number, Constant(max(users.values())), len(set(users.values())) > 1)
            for number, users in enumerate(alike)
            for step in users
        }


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of a layer while it is emitted.

    `force` maps names of layers to kernels they must use, and "" to one that all layers must use to which it applies.
    `weights` is the narrowest format in which weights may be stored. `planes` are the convolutions that may read a
    caller's tensor as it is (see `plan.planes.planes_readers`), `choices` the kernels of all convolutions; both go by
    the name of the first result. `bodies` are the step functions that have the same body as others, by their names;
    while these are being found, all bodies are written under neutral names, to `candidates` (see `bodies`).
    """

    graph: Graph
    places: Mapping[str, Place]
    library: Library
    machine: Machine = field(default_factory=Machine)
    force: Mapping[str, str] = field(default_factory=dict)
    weights: str = "fp16"
    planes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    choices: Mapping[str, Choice] = field(default_factory=dict)
    bodies: Mapping[str, Sharing] = field(default_factory=dict)
    candidates: Candidates | None = None

    def shares(self, step: str) -> bool:
        """Whether the body of a step is written under neutral names."""
        return self.candidates is not None or step in self.bodies

    @property
    def prefix(self) -> str:
        """What every name of this net begins with."""
        return self.graph.config.prefix


@dataclass(frozen=True, slots=True)
class Part:
    """A function of a layer and how many equal items of work it has, which threads share."""

    name: str
    items: int


@dataclass(frozen=True, slots=True)
class LayerCode:
    """One emitted layer: the step functions of inference and packing, the weights it keeps, and what to say about it.

    `steps` run one after another; most layers have one. `code` is the text of all their functions. `prices` are
    those of all kernels that could compute the layer, in microseconds; `forced` says that the user chose among them.
    """

    name: str
    kernel: str
    algorithm: str
    steps: tuple[Part, ...]
    code: str
    fields: tuple[WeightField, ...] = ()
    packs: tuple[PackCall, ...] = ()
    edge_classes: tuple[str, ...] = ()
    weights: str = "fp32"

    prices: tuple[tuple[str, float], ...] = ()
    forced: bool = False

    @property
    def weight_bytes(self) -> int:
        """Bytes of packed weights."""
        return sum(f.bytes for f in self.fields)


@dataclass(frozen=True, slots=True)
class ConvKernel:
    """One way to compute a convolution: whether it can, what work that is, and the emitted layer.

    `scratch` says that a prologue needs working memory in the arena, as large as the source; `planes` that the source
    is channels x height x width.
    """

    name: str
    applies: Callable[[ConvOp, Context], bool]
    work: Callable[[ConvOp, Context], Work]
    emit: Callable[[ConvOp, Context], LayerCode]
    scratch: bool = True
    planes: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernel taken, and the price in microseconds of each that applies, cheapest first."""

    kernel: ConvKernel
    prices: tuple[tuple[str, float], ...]
    forced: bool


def tensor_pointer(place: Place, name: str, *, written: bool, flat: bool = False) -> str:
    """Declaration of a pointer to a tensor: blocks of [height][width][16] or [pixels][16], planes without the [16]."""
    shape = place.shape
    extents = f"[{extent(shape.height, shape.width)}]" if flat else f"[{shape.height}][{shape.width}]"
    extents += f"[{place.layout.lanes}]" if place.layout.lanes > 1 else ""
    return f"{'' if written else 'const '}float (*restrict {name}){extents}"


def tensor_address(place: Place) -> str:
    """Where a tensor begins, in a step function."""
    return f"(const void *)engine->{place.caller}" if place.caller else f"tensor(engine, {names.offset(place.name)})"


def declare_tensor(writer: Writer, place: Place, *, written: bool, flat: bool = False) -> None:
    """Write the local pointer to a tensor."""
    pointer = tensor_pointer(place, names.local(place.name), written=written, flat=flat)
    writer.assign(pointer, tensor_address(place))


def write_segments(writer: Writer, layout: Layout) -> None:
    """Write the table of segments of a layout that is not regular; a 0 ends it."""
    writer.comment("segments of channels, each of which begins a new block")
    writer.table("static const ptrdiff_t segments[]", (str(segment) for segment in (*layout.merged, 0)))


def begin_step(writer: Writer, prefix: str) -> None:
    """First line of the body of every inference step: what the context is."""
    writer.line(f"const {prefix}Engine *engine = context;")


def step_signature(prefix: str, name: str) -> str:
    """Signature of a step function: items first to last-1 of its work."""
    return f"static NOINLINE void {names.static(prefix, name)}(const void *context, ptrdiff_t first, ptrdiff_t last)"
