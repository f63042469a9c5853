"""Every Hypothesis strategy of the project: graphs over the whole language, options, build flags, whole cases.

A graph is drawn as a list of wishes, one per layer, made of small integers; `grow` turns wishes into nodes and bends
whatever would be illegal or too large into the nearest legal thing. So every draw is a legal graph, no draw is thrown
away, and since a wish means the same wherever it stands, Hypothesis can delete and shrink wishes independently.

Sizes come from around the multiples of 16, the width of a vector: a plain `integers(1, 64)` almost never hits an edge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias, assert_never

from hypothesis import strategies as st

from fuzz.case import OPTIMISATIONS, Case, DataSeed
from fuzz.regimes import REGIMES
from nn512.graph import (
    POOLINGS,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Config,
    Conv,
    FullyConnected,
    Graph,
    Input,
    Layer,
    Node,
    Output,
    Pooling,
    Shape,
    Softmax,
    build,
    format_graph,
    tensors_read,
)
from nn512.kernels.selection import kernel_names
from nn512.options import Options
from nn512.passes.pipeline import PASSES

EDGE_SIZES = (1, 2, 3, 4, 5, 13, 14, 15, 16, 17, 18, 19, 29, 30, 31, 32, 33, 34, 35, 47, 48, 49, 50, 51)
LONG_SIZES = (63, 64, 65, 79, 80, 81, 95, 96, 97, 127, 128, 129)

# A case has to take milliseconds: these bound one graph. Work is counted in multiply-accumulates.
TENSOR_ELEMENTS = 24_576
LAYER_WORK = 600_000
GRAPH_WORK = 1_500_000
WEIGHTS = 60_000

SAME = -1
"""Padding wish: whatever keeps the size of the image at stride 1."""

# Names that sort in every way against each other ("a1" before "aa" before "b", capitals first) and names that mean
# something in C or to the emitted code, which has to keep clear of them.
_SORTING_NAMES = ("b", "a1", "a", "Z", "aa", "a2", "A", "zz", "a10", "B2", "c", "aB")
_HOSTILE_NAMES = ("int", "x", "net", "NULL", "malloc", "main", "params", "restrict", "engine", "acc", "m512", "Net")


@dataclass(frozen=True, slots=True)
class ConvWish:
    """A convolution. `to_channels` 0 keeps the channels; `groups` picks a divisor: 0 is none, -1 all channels."""

    source: int
    to_channels: int = 0
    filter_h: int = 1
    filter_w: int = 1
    stride_h: int = 1
    stride_w: int = 1
    padding_h: int = 0
    padding_w: int = 0
    dilation_h: int = 1
    dilation_w: int = 1
    groups: int = 0
    output: bool = False


@dataclass(frozen=True, slots=True)
class FullyConnectedWish:
    """A fully connected layer."""

    source: int
    to_channels: int
    output: bool = False


@dataclass(frozen=True, slots=True)
class BatchNormWish:
    """A batch normalization."""

    source: int
    epsilon: float
    output: bool = False


@dataclass(frozen=True, slots=True)
class ActivationWish:
    """A ReLU with a slope."""

    source: int
    param: float
    output: bool = False


@dataclass(frozen=True, slots=True)
class AddWish:
    """A sum with another tensor of the same shape: an older one, the tensor itself, or a new input."""

    source: int
    second: int
    output: bool = False


@dataclass(frozen=True, slots=True)
class ConcatWish:
    """A concatenation with a tensor of the same height and width, or with a new input of `channels`."""

    source: int
    second: int
    channels: int
    swap: bool = False
    output: bool = False


@dataclass(frozen=True, slots=True)
class PoolingWish:
    """A pooling."""

    source: int
    kind: str
    padding_h: int = 0
    padding_w: int = 0
    output: bool = False


@dataclass(frozen=True, slots=True)
class SoftmaxWish:
    """A softmax."""

    source: int
    output: bool = False


@dataclass(frozen=True, slots=True)
class InputWish:
    """One more input, for later layers to read."""

    channels: int
    height: int
    width: int


Wish: TypeAlias = (
    ConvWish
    | FullyConnectedWish
    | BatchNormWish
    | ActivationWish
    | AddWish
    | ConcatWish
    | PoolingWish
    | SoftmaxWish
    | InputWish
)


@dataclass(frozen=True, slots=True)
class Style:
    """What changes the text of a graph but not its structure: names, order of the nodes, Config."""

    names: int = 0
    backwards: bool = False
    prefix: str = "NN512"
    l1_kib: int = 32
    l2_kib: int = 960


# ---------------------------------------------------------------------------------------------- wishes to nodes


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


# ---------------------------------------------------------------------------------------------- strategies

_sources = st.sampled_from((0, 0, 0, 0, 1, 2, 3, 5))
_outputs = st.sampled_from((False, False, False, False, True))
_partners = st.integers(0, 7)


def sizes() -> st.SearchStrategy[int]:
    """One extent of a tensor, at or next to an edge of the vector width."""
    return st.sampled_from(EDGE_SIZES) | st.sampled_from((*EDGE_SIZES[:12], *LONG_SIZES))


def shapes() -> st.SearchStrategy[Shape]:
    """Shape of an input; images are mostly small so that many channels fit."""
    small = st.sampled_from(EDGE_SIZES[:12])
    return st.builds(Shape, sizes(), small | sizes(), small | sizes())


def dense_convs() -> st.SearchStrategy[Wish]:
    """Convolutions of any filter, stride, padding (beyond the filter too) and dilation."""
    taps = st.sampled_from((1, 3, 2, 5, 4, 7))
    strides = st.sampled_from((1, 1, 2, 3))
    padding = st.sampled_from((0, SAME, 1, 2, 3, 6))
    dilations = st.sampled_from((1, 1, 1, 2, 3))
    return st.builds(
        ConvWish, _sources, st.just(0) | sizes(), taps, taps, strides, strides, padding, padding, dilations, dilations,
        output=_outputs,
    )  # fmt: skip


def pointwise_convs() -> st.SearchStrategy[Wish]:
    """1x1 convolutions, half of them strided."""
    strides = st.sampled_from((1, 1, 2))
    return st.builds(
        ConvWish, _sources, st.just(0) | sizes(), stride_h=strides, stride_w=strides, groups=st.sampled_from((0, 0, 1)),
        output=_outputs,
    )  # fmt: skip


def usual_convs() -> st.SearchStrategy[Wish]:
    """What nets are made of: square odd filters that keep the image or halve it."""

    def square(source: int, to_channels: int, taps: int, stride: int, output: bool) -> Wish:  # noqa: FBT001
        return ConvWish(source, to_channels, taps, taps, stride, stride, SAME, SAME, output=output)

    return st.builds(
        square, _sources, st.just(0) | sizes(), st.sampled_from((3, 3, 5, 7)), st.sampled_from((1, 1, 2)), _outputs
    )


def grouped_convs() -> st.SearchStrategy[Wish]:
    """Grouped convolutions: depthwise, depthwise with several outputs per channel, odd group sizes."""
    taps = st.sampled_from((3, 1, 2, 5))
    padding = st.sampled_from((SAME, 0, 1))
    return st.builds(
        ConvWish, _sources, st.just(0) | sizes(), taps, taps, st.sampled_from((1, 2)), st.sampled_from((1, 2)), padding,
        padding, st.sampled_from((1, 1, 2)), st.sampled_from((1, 1, 2)), st.sampled_from((-1, 1, 2, 3, 4)), _outputs,
    )  # fmt: skip


def poolings() -> st.SearchStrategy[Wish]:
    """All kinds of pooling, with every legal padding."""
    return st.builds(
        PoolingWish, _sources, st.sampled_from(POOLINGS), st.integers(0, 2), st.integers(0, 2), output=_outputs
    )


def fully_connected() -> st.SearchStrategy[Wish]:
    """Fully connected layers, on images too."""
    return st.builds(FullyConnectedWish, _sources, sizes(), output=_outputs)


def batch_norms() -> st.SearchStrategy[Wish]:
    """Batch normalizations; half of the epsilons allow exact arithmetic."""
    return st.builds(BatchNormWish, _sources, st.sampled_from((0.00001, 0.0, 0.75, 0.001, 3.0)), output=_outputs)


def activations() -> st.SearchStrategy[Wish]:
    """ReLUs with every sort of slope."""
    return st.builds(ActivationWish, _sources, st.sampled_from((0.0, 0.1, 1.0, -1.0, 2.0, 0.5, -0.25)), output=_outputs)


def wishes() -> st.SearchStrategy[Wish]:
    """One layer (or one more input). The first kinds are what failures shrink to."""
    return st.one_of(
        activations(),
        pointwise_convs(),
        usual_convs(),
        dense_convs(),
        grouped_convs(),
        poolings(),
        st.builds(AddWish, _sources, _partners, output=_outputs),
        st.builds(ConcatWish, _sources, _partners, sizes(), st.booleans(), output=_outputs),
        batch_norms(),
        fully_connected(),
        st.builds(SoftmaxWish, _sources, output=_outputs),
        st.builds(InputWish, sizes(), sizes(), sizes()),
    )


# What the passes look for, as wishes to be granted one after the other; 0 reads the tensor before, 1 the one before it.
_CONV, _POINTWISE = ConvWish(0, 0, 3, 3, padding_h=SAME, padding_w=SAME), ConvWish(0)
_NORM, _RELU, _LEAKY = BatchNormWish(0, 0.00001), ActivationWish(0, 0.0), ActivationWish(0, -0.5)
_SITUATIONS: tuple[tuple[Wish, ...], ...] = (
    (_CONV, _NORM, _RELU),
    (_CONV, _NORM, replace(_RELU, source=1)),  # the convolution has a second reader: nothing folds
    (_NORM, _POINTWISE),  # folds forward
    (_NORM, _NORM, _POINTWISE, replace(_POINTWISE, source=1)),  # into both readers
    (_RELU, _NORM, _POINTWISE, replace(_POINTWISE, source=2)),  # of two alike only one has a norm before it
    (_POINTWISE, replace(_POINTWISE, source=1), _CONV, AddWish(2, 0)),  # a sum that comes after a merged pair
    (FullyConnectedWish(0, 9), _NORM, _LEAKY, AddWish(0, 7)),
    (_NORM, _CONV),  # which padding forbids
    (_NORM, _RELU, _POINTWISE, _NORM, _RELU, _CONV, ConcatWish(6, 0, 1)),  # a layer of DenseNet
    (_NORM, _RELU, PoolingWish(0, "Avg3x3Stride2", 1, 1), _NORM),
    (_RELU, _LEAKY, _NORM, _LEAKY, _RELU, ActivationWish(0, 0.5), ActivationWish(0, 2.0)),
    (_RELU, PoolingWish(0, "Max2x2Stride2"), PoolingWish(1, "Avg2x2Stride2")),  # a ReLU computed twice
    (_POINTWISE, replace(_POINTWISE, source=1, to_channels=17)),  # to be merged
    (_POINTWISE, _NORM, replace(_CONV, source=2), AddWish(0, 0), _RELU),
    (_CONV, _NORM, _RELU, _CONV, _NORM, AddWish(0, 4), _RELU),  # a residual block
    (_POINTWISE, replace(_POINTWISE, source=1), AddWish(0, 0), AddWish(0, 7)),
    (_RELU, ConcatWish(0, 0, 3), ConcatWish(0, 1, 3), ConcatWish(1, 0, 3)),  # the same parts in several wholes
    (_CONV, replace(_CONV, source=1), ConcatWish(0, 0, 3), _NORM, _RELU),
    (_RELU, replace(_RELU, source=1), AddWish(0, 0), _RELU, _RELU),  # the same ReLU twice
    # Averages that may come before 1x1 convolutions.
    (_NORM, _RELU, _POINTWISE, PoolingWish(0, "Avg2x2Stride2")),  # a transition of DenseNet
    (_POINTWISE, _NORM, PoolingWish(0, "AvgGlobal"), _RELU),
    (_NORM, _POINTWISE, PoolingWish(0, "Avg3x3Stride2", 1, 2), _NORM, AddWish(0, 0)),
    (replace(_POINTWISE, groups=-1), PoolingWish(0, "Avg2x2Stride2", 1, 1), PoolingWish(0, "Avg3x3Stride2")),
    (replace(_POINTWISE, groups=1), ActivationWish(0, 1.0), PoolingWish(0, "Avg3x3Stride2"), _POINTWISE),
    (_POINTWISE, _POINTWISE, _NORM, PoolingWish(0, "Avg2x2Stride2"), _LEAKY),  # before two
    (_POINTWISE, PoolingWish(0, "AvgGlobal"), replace(_POINTWISE, source=2), PoolingWish(0, "AvgGlobal")),  # shared
    (_POINTWISE, PoolingWish(0, "Avg2x2Stride2"), PoolingWish(1, "Max2x2Stride2")),  # two readers: stays
)


def situations() -> st.SearchStrategy[list[Wish]]:
    """Layers among which some pass has something to do, or just has not, with outputs at any place."""

    def place(wishes: tuple[Wish, ...], source: int, outputs: int) -> list[Wish]:
        first, *others = wishes
        assert not isinstance(first, InputWish)
        marked = (
            w if isinstance(w, InputWish) or not outputs >> i & 1 else replace(w, output=True)
            for i, w in enumerate((replace(first, source=source), *others))
        )
        return list(marked)

    outputs = st.sampled_from((0, 0, 0, 1, 2, 4, 3, 5, 127))
    return st.builds(place, st.sampled_from(_SITUATIONS), _sources, outputs)


_INNER: tuple[Wish, ...] = (
    _POINTWISE, _RELU, _NORM, _CONV, _LEAKY, replace(_CONV, groups=-1), replace(_CONV, groups=1, dilation_w=2),
)  # fmt: skip


def stage_ends() -> st.SearchStrategy[list[Wish]]:
    """A block of layers, then strided 1x1 convolutions as at the beginning of the next stage of a net.

    Then no pixels between those they read need to be computed, unless they differ or something else reads the block.
    The block may have a shortcut around it: none (0), its input (1), or a projection of that (2).
    """

    def end(
        first: list[Wish], inner: list[Wish], shortcut: int, last: list[Wish], strided: list[ConvWish], output: int
    ) -> list[Wish]:
        wishes = [*first, *inner]
        if shortcut == 2:
            wishes += [ConvWish(len(inner)), AddWish(0, 0)]
        elif shortcut == 1:
            wishes.append(AddWish(0, len(inner) - 1))
        wishes += [*last, *(replace(conv, source=number) for number, conv in enumerate(strided))]
        if 0 <= output < len(wishes) and not isinstance(wish := wishes[output], InputWish):
            wishes[output] = replace(wish, output=True)
        return wishes

    channels = st.sampled_from((3, 16, 17))
    fresh = st.builds(InputWish, channels, st.integers(1, 9), st.integers(1, 9)).map(lambda wish: [wish, _POINTWISE])
    entries = fresh | st.builds(ConvWish, _sources, channels).map(lambda wish: [wish])
    strides = st.sampled_from(((2, 2), (2, 2), (2, 2), (2, 2), (2, 2), (3, 3), (2, 1), (1, 3)))
    alike = st.tuples(strides, st.integers(1, 3)).map(lambda drawn: [drawn[0]] * drawn[1])
    strided = (alike | alike | alike | st.lists(strides, min_size=2, max_size=2)).map(
        lambda drawn: [ConvWish(0, stride_h=rows, stride_w=columns) for rows, columns in drawn]
    )
    inner = st.lists(st.sampled_from(_INNER), min_size=1, max_size=5)
    last = st.lists(st.sampled_from((_RELU, _NORM)), max_size=2)
    outputs = st.sampled_from((*[-1] * 9, *range(9)))
    return st.builds(end, entries, inner, st.sampled_from((1, 1, 0, 2)), last, strided, outputs)


def averaged_convs() -> st.SearchStrategy[list[Wish]]:
    """A 1x1 convolution, perhaps a norm, and an average with any padding: they may change places."""

    def place(source: int, to_channels: int, groups: int, norm: bool, pooling: Wish) -> list[Wish]:  # noqa: FBT001
        conv = ConvWish(source, to_channels, groups=groups)
        return [conv, _NORM, pooling] if norm else [conv, pooling]

    averages = st.sampled_from([kind for kind in POOLINGS if kind.startswith("Avg")])
    pooling = st.builds(PoolingWish, st.just(0), averages, st.integers(0, 2), st.integers(0, 2), output=_outputs)
    groups = st.sampled_from((0, 0, -1, 1, 2))
    return st.builds(place, _sources, st.just(0) | sizes(), groups, st.booleans(), pooling)


def first_layers() -> st.SearchStrategy[list[Wish]]:
    """A picture of few channels and a convolution on it: any filter, stride, padding and dilation."""
    sides = st.sampled_from((*EDGE_SIZES[:12], 29, 31, 50, 65))
    picture = st.builds(InputWish, st.sampled_from((3, 1, 2, 4)), sides, sides)

    def reading(picture: Wish, conv: Wish) -> list[Wish]:
        assert isinstance(conv, ConvWish)
        return [picture, replace(conv, source=0)]

    return st.builds(reading, picture, st.one_of(usual_convs(), dense_convs(), pointwise_convs()))


def wish_lists(max_layers: int) -> st.SearchStrategy[list[Wish]]:
    """About `max_layers` layers at most: mostly single ones, now and then a situation or a first layer."""

    def one() -> st.SearchStrategy[list[Wish]]:
        return wishes().map(lambda wish: [wish])

    pieces = st.one_of(*[one()] * 5, situations(), situations(), stage_ends(), averaged_convs(), first_layers())
    mixed = st.lists(pieces, min_size=1, max_size=max_layers)
    return st.one_of(*(lists.map(_joined) for lists in (*[mixed] * 5, _stage_lists())))


def _stage_lists() -> st.SearchStrategy[list[list[Wish]]]:
    """Ends of stages alone, so that nothing else reads the pixels that they need not compute."""
    return st.lists(stage_ends(), min_size=1, max_size=2)


def _joined(lists: list[list[Wish]]) -> list[Wish]:
    return [wish for wishes in lists for wish in wishes]


def styles() -> st.SearchStrategy[Style]:
    """Names, order and Config, mostly plain."""
    return st.builds(
        Style,
        st.sampled_from((0, 0, 1, 2, 3)),
        st.sampled_from((False, False, True)),
        st.sampled_from(("NN512", "NN512", "A", "net1")),
        st.sampled_from((32, 32, 4, 1)),
        st.sampled_from((960, 960, 16)),
    )


def node_lists(max_layers: int = 10) -> st.SearchStrategy[tuple[Node, ...]]:
    """Nodes of legal graphs of up to about `max_layers` layers."""
    return st.builds(grow, shapes(), wish_lists(max_layers), styles())


def stages() -> st.SearchStrategy[tuple[Node, ...]]:
    """Nodes of graphs that are made of the ends of stages."""
    return st.builds(grow, shapes(), _stage_lists().map(_joined), styles())


def graphs(max_layers: int = 10) -> st.SearchStrategy[Graph]:
    """Legal, checked graphs."""
    return node_lists(max_layers).map(build)


def options() -> st.SearchStrategy[Options]:
    """Compiler options: mostly the defaults, else passes switched off, a kernel forced on every layer, full weights."""
    some = st.lists(st.sampled_from(tuple(PASSES)), min_size=1, max_size=len(PASSES), unique=True).map(tuple)
    without = st.one_of(st.just(()), st.just(()), some, st.just(tuple(PASSES)))
    forced = st.sampled_from(((), (), *((("", kernel),) for kernel in kernel_names())))
    return st.builds(Options, without, forced, st.sampled_from(("fp16", "fp16", "fp32")))


def cases(regimes: tuple[str, ...] = tuple(REGIMES)) -> st.SearchStrategy[Case]:
    """Whole cases: a graph, options, an optimisation level and one data set of every regime."""

    def case(nodes: tuple[Node, ...], options: Options, optimisation: str, compiler: str, seed: int) -> Case:
        data = tuple(DataSeed(regime, seed) for regime in regimes)
        return Case(format_graph(nodes), options.to_dict(), optimisation, data, compiler)

    compilers = st.sampled_from(("", "", "", "gcc", "clang"))
    return st.builds(case, node_lists(), options(), st.sampled_from(OPTIMISATIONS), compilers, st.integers(0, 999))
