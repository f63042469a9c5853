"""A graph while it grows: the tensors there are, what it may still cost, and the names that tensors get."""

from __future__ import annotations

from dataclasses import dataclass

from fuzz.draw.sizes import largest_edge
from nn512.graph import Config, Input, Layer, Node, Output, Shape, tensors_read

# A case has to take milliseconds: these bound one graph. Work is counted in multiply-accumulates.
TENSOR_ELEMENTS = 24_576
LAYER_WORK = 600_000
GRAPH_WORK = 1_500_000
WEIGHTS = 60_000

# Names that sort in every way against each other ("a1" before "aa" before "b", capitals first) and names that mean
# something in C or to the emitted code, which has to keep clear of them.
_SORTING_NAMES = ("b", "a1", "a", "Z", "aa", "a2", "A", "zz", "a10", "B2", "c", "aB")
_HOSTILE_NAMES = ("int", "x", "net", "NULL", "malloc", "main", "params", "restrict", "engine", "acc", "m512", "Net")


@dataclass(frozen=True, slots=True)
class Style:
    """What changes the text of a graph but not its structure: names, order of the nodes, Config."""

    names: int = 0
    backwards: bool = False
    prefix: str = "NN512"
    l1_kib: int = 32
    l2_kib: int = 960


class Grower:
    """The graph grown so far. Tensors are picked by recency, so a wish of source 0 continues a chain."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._names = 0
        self._work = 0
        self._nodes: list[Node] = []
        self._layers: list[Layer] = []
        self._marked: list[str] = []
        self.shapes: dict[str, Shape] = {}

    def name(self) -> str:
        """The next tensor name in the style asked for."""
        index = self._names
        self._names += 1
        match self._style.names:
            case 1 if index < len(_SORTING_NAMES):
                return _SORTING_NAMES[index]
            case 2 if index < len(_HOSTILE_NAMES):
                return _HOSTILE_NAMES[index]
            case 3:
                return f"t{99 - index}"
            case _:
                return f"t{index}"

    def pick(self, source: int) -> str:
        """A tensor by recency: 0 is the last one made."""
        names = list(self.shapes)
        return names[-1 - source % len(names)]

    def layer(self, tensor: str) -> Layer | None:
        """What makes a tensor; None for an input."""
        return next((node for node in self._layers if node.to_tensor == tensor), None)

    def add_input(self, shape: Shape, *, interleaved: bool = False) -> str:
        """A new input tensor no larger than a tensor may be; the channels of its pixels stand together if asked."""
        name = self.name()
        shape = _bounded(shape)
        order = "HWC" if interleaved and shape.elements > 1 else "CHW"  # of a single number there is but one order
        self._nodes.append(Input(name, *shape, order))
        self.shapes[name] = shape
        return name

    def add_layer(self, layer: Layer, shape: Shape, *, output: bool) -> None:
        """A layer whose result has `shape`."""
        self._nodes.append(layer)
        self._layers.append(layer)
        self.shapes[layer.to_tensor] = shape
        if output:
            self._marked.append(layer.to_tensor)

    def afford(self, work: int) -> bool:
        """Whether the graph may spend that many multiply-accumulates more; counts them if so."""
        if self._work + work > GRAPH_WORK:
            return False
        self._work += work
        return True

    def partner(self, first: str, second: int, fits: list[str], fresh: Shape) -> str:
        """The other operand: one of `fits` (most recent first), `first` itself, or a new input."""
        others = [name for name in reversed(fits) if name != first]
        choice = second % (len(others) + 2)
        if choice < len(others):
            return others[choice]
        return first if choice == len(others) else self.add_input(fresh)

    @property
    def has_layers(self) -> bool:
        """Whether there is anything but inputs."""
        return any(not isinstance(node, Input) for node in self._nodes)

    def finish(self) -> tuple[Node, ...]:
        """All nodes, with the outputs that make the graph legal and without inputs that nobody reads."""
        read = {name for node in self._nodes for name in tensors_read(node)}
        nodes = [node for node in self._nodes if not (isinstance(node, Input) and node.to_tensor not in read)]
        layers = [node for node in nodes if not isinstance(node, Input)]
        wanted = {name for name in self._marked if name in self.shapes}
        wanted.update(
            node.to_tensor for node in layers if not isinstance(node, Config | Output) and node.to_tensor not in read
        )
        nodes.extend(Output(name) for name in self.shapes if name in wanted)
        style = self._style
        config = Config(
            style.prefix, l1_data_cache_per_thread=style.l1_kib << 10, l2_cache_per_thread=style.l2_kib << 10
        )
        return (*reversed(nodes), config) if style.backwards else (config, *nodes)


def _bounded(shape: Shape) -> Shape:
    """`shape`, its largest extent lowered to smaller edge sizes until the tensor is small enough."""
    extents = list(shape)
    while extents[0] * extents[1] * extents[2] > TENSOR_ELEMENTS:
        widest = extents.index(max(extents))
        extents[widest] = largest_edge(extents[widest] - 1, extents[widest] - 1)
    return Shape(*extents)
