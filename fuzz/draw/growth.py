"""Wishes to nodes: `grow` bends whatever would be illegal or too large into the nearest legal thing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from fuzz.draw.wishes import (
    EDGE_SIZES,
    LONG_SIZES,
    SAME,
    ActivationWish,
    AddWish,
    BatchNormWish,
    ConcatWish,
    ConvWish,
    FullyConnectedWish,
    InputWish,
    PoolingWish,
    SoftmaxWish,
    Wish,
)
from nn512.graph import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Config,
    Conv,
    FullyConnected,
    Input,
    Layer,
    Node,
    Output,
    Pooling,
    Shape,
    Softmax,
    tensors_read,
)

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


class _Grower:
    """The graph grown so far. Tensors are picked by recency, so a wish of source 0 continues a chain."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._names = 0
        self._work = 0
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape] = {}
        self.marked: list[str] = []

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

    def add_input(self, shape: Shape) -> str:
        """A new input tensor no larger than a tensor may be."""
        name = self.name()
        shape = _bounded(shape)
        self.nodes.append(Input(name, *shape))
        self.shapes[name] = shape
        return name

    def add_layer(self, layer: Layer, shape: Shape, *, output: bool) -> None:
        """A layer whose result has `shape`."""
        self.nodes.append(layer)
        self.shapes[layer.to_tensor] = shape
        if output:
            self.marked.append(layer.to_tensor)

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

    def apply(self, wish: Wish) -> None:
        """Add what the wish asks for, or the nearest legal thing; nothing where even that would be too large."""
        match wish:
            case InputWish():
                self.add_input(Shape(wish.channels, wish.height, wish.width))
            case ConvWish():
                self._conv(wish)
            case FullyConnectedWish():
                source = self.pick(wish.source)
                elements = self.shapes[source].elements
                to_channels = _largest_edge(wish.to_channels, WEIGHTS // elements)
                if to_channels and self.afford(to_channels * elements):
                    shape = Shape(to_channels, 1, 1)
                    self.add_layer(FullyConnected(source, self.name(), to_channels), shape, output=wish.output)
            case BatchNormWish():
                source = self.pick(wish.source)
                self.add_layer(BatchNorm(source, self.name(), wish.epsilon), self.shapes[source], output=wish.output)
            case ActivationWish():
                source = self.pick(wish.source)
                self.add_layer(
                    Activation(source, self.name(), "ReLU", wish.param), self.shapes[source], output=wish.output
                )
            case AddWish():
                first = self.pick(wish.source)
                shape = self.shapes[first]
                second = self.partner(first, wish.second, [n for n, s in self.shapes.items() if s == shape], shape)
                self.add_layer(Add(first, second, self.name()), shape, output=wish.output)
            case ConcatWish():
                self._concat(wish)
            case PoolingWish():
                source = self.pick(wish.source)
                pooling, shape = _pooling(wish, source, self.shapes[source])
                self.add_layer(replace(pooling, to_tensor=self.name()), shape, output=wish.output)
            case SoftmaxWish():
                source = self.pick(wish.source)
                self.add_layer(Softmax(source, self.name()), self.shapes[source], output=wish.output)
            case _:
                assert_never(wish)

    def _conv(self, wish: ConvWish) -> None:
        source = self.pick(wish.source)
        shape = self.shapes[source]
        filter_h, dilation_h, padding_h, stride_h, height = _window(
            shape.height, wish.filter_h, wish.dilation_h, wish.padding_h, wish.stride_h
        )
        filter_w, dilation_w, padding_w, stride_w, width = _window(
            shape.width, wish.filter_w, wish.dilation_w, wish.padding_w, wish.stride_w
        )
        groups = _pick_divisor(shape.channels, wish.groups)
        taps = shape.channels // groups * filter_h * filter_w
        wanted = wish.to_channels or shape.channels
        limit = min(TENSOR_ELEMENTS // (height * width), LAYER_WORK // (taps * height * width), WEIGHTS // taps)
        to_channels = _largest_edge(wanted, limit // groups * groups, groups)
        if to_channels and self.afford(to_channels * taps * height * width):
            layer = Conv(
                source, self.name(), to_channels, filter_h, filter_w, stride_h, stride_w, padding_h, padding_w,
                dilation_h, dilation_w, groups,
            )  # fmt: skip
            self.add_layer(layer, Shape(to_channels, height, width), output=wish.output)

    def _concat(self, wish: ConcatWish) -> None:
        first = self.pick(wish.source)
        _, height, width = shape = self.shapes[first]
        room = TENSOR_ELEMENTS // (height * width) - shape.channels
        fits = [n for n, s in self.shapes.items() if s[1:] == (height, width) and s.channels <= room]
        if room < shape.channels or (wish.second % 8 == 7 and not fits):
            return
        second = self.partner(first, wish.second, fits, Shape(_largest_edge(wish.channels, room), height, width))
        if wish.swap:
            first, second = second, first
        channels = self.shapes[first].channels + self.shapes[second].channels
        self.add_layer(Concat(first, second, self.name()), Shape(channels, height, width), output=wish.output)

    def finish(self) -> tuple[Node, ...]:
        """All nodes, with the outputs that make the graph legal and without inputs that nobody reads."""
        if not any(not isinstance(node, Input) for node in self.nodes):
            self.apply(ActivationWish(0, 0.0))
        read = {name for node in self.nodes for name in tensors_read(node)}
        nodes = [node for node in self.nodes if not (isinstance(node, Input) and node.to_tensor not in read)]
        layers = [node for node in nodes if not isinstance(node, Input)]
        wanted = {name for name in self.marked if name in self.shapes}
        wanted.update(
            node.to_tensor for node in layers if not isinstance(node, Config | Output) and node.to_tensor not in read
        )
        nodes.extend(Output(name) for name in self.shapes if name in wanted)
        style = self._style
        config = Config(
            style.prefix, l1_data_cache_per_thread=style.l1_kib << 10, l2_cache_per_thread=style.l2_kib << 10
        )
        return (*reversed(nodes), config) if style.backwards else (config, *nodes)


def grow(first: Shape, wishes: list[Wish], style: Style = Style()) -> tuple[Node, ...]:
    """The nodes of a legal graph: an input of about shape `first`, then what the wishes ask for, then outputs."""
    grower = _Grower(style)
    grower.add_input(first)
    for wish in wishes:
        grower.apply(wish)
    return grower.finish()


def _bounded(shape: Shape) -> Shape:
    """`shape`, its largest extent lowered to smaller edge sizes until the tensor is small enough."""
    extents = list(shape)
    while extents[0] * extents[1] * extents[2] > TENSOR_ELEMENTS:
        widest = extents.index(max(extents))
        extents[widest] = _largest_edge(extents[widest] - 1, extents[widest] - 1)
    return Shape(*extents)


def _largest_edge(wanted: int, limit: int, multiple: int = 1) -> int:
    """`wanted` rounded up to `multiple`; where that passes `limit`, the largest edge size that does not; 0 if none."""
    rounded = -(-wanted // multiple) * multiple
    if rounded <= limit:
        return rounded
    sizes = (-(-size // multiple) * multiple for size in reversed((*EDGE_SIZES, *LONG_SIZES)))
    return next((size for size in sizes if size <= limit), 0)


def _window(size: int, filter_: int, dilation: int, padding: int, stride: int) -> tuple[int, int, int, int, int]:
    """Filter, dilation, padding, stride and resulting size along one axis, bent until the window fits."""
    if padding == SAME:
        padding = (filter_ - 1) * dilation // 2
    if size + 2 * padding < 1 + (filter_ - 1) * dilation:
        dilation = 1
    filter_ = min(filter_, size + 2 * padding)
    out = (size + 2 * padding - (1 + (filter_ - 1) * dilation)) // stride + 1
    while out > LONG_SIZES[-1]:
        stride += 1
        out = (size + 2 * padding - (1 + (filter_ - 1) * dilation)) // stride + 1
    return filter_, dilation, padding, stride, out


def _pick_divisor(channels: int, wish: int) -> int:
    divisors = [d for d in range(1, channels + 1) if channels % d == 0]
    return channels if wish < 0 else divisors[wish % len(divisors)]


def _pooling(wish: PoolingWish, source: str, shape: Shape) -> tuple[Pooling, Shape]:
    layer = Pooling(source, "", wish.kind)
    if layer.window is None:
        return layer, Shape(shape.channels, 1, 1)
    window = layer.window
    padding_h, padding_w = (
        max(min(padding, window - 1), -((size - window) // 2), 0)
        for padding, size in ((wish.padding_h, shape.height), (wish.padding_w, shape.width))
    )
    height, width = (
        (size + 2 * padding - window) // 2 + 1
        for size, padding in ((shape.height, padding_h), (shape.width, padding_w))
    )
    return Pooling(source, "", wish.kind, padding_h, padding_w), Shape(shape.channels, height, width)
