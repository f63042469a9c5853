"""Several layers in a row, as wishes: as nets have them, and what several passes or a kernel have something to do with.

What single decisions of the compiler are about stands in `fuzz.draw.decisions`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from hypothesis import strategies as st

from fuzz.draw.again import AgainWish
from fuzz.draw.kinds import LayerWish, Wish
from fuzz.draw.kinds.activation import ActivationWish, clip, relu
from fuzz.draw.kinds.batch_norm import BatchNormWish
from fuzz.draw.kinds.binary import BinaryWish
from fuzz.draw.kinds.concat import ConcatWish
from fuzz.draw.kinds.conv import SAME, ConvWish, dense_convs, pointwise_convs, usual_convs
from fuzz.draw.kinds.fully_connected import FullyConnectedWish
from fuzz.draw.kinds.input import INTERLEAVED, InputWish
from fuzz.draw.kinds.pooling import PoolingWish
from fuzz.draw.kinds.shuffle import ShuffleWish
from fuzz.draw.kinds.slice import SliceWish
from fuzz.draw.kinds.softmax import SoftmaxWish
from fuzz.draw.sizes import EDGE_SIZES, ITSELF, OUTPUTS, SOURCES, sizes
from fuzz.draw.weights import weighted
from fuzz.draw.wishes import wishes
from nn512.graph import POOLINGS, Activation, Div, Max, Min, Mul, Sub

# Wishes to be granted one after the other; 0 reads the tensor before, 1 the one before it.
_CONV, _POINTWISE = ConvWish(0, 0, 3, 3, padding_h=SAME, padding_w=SAME), ConvWish(0)
_NORM, _RELU, _LEAKY = BatchNormWish(0, 0.00001), ActivationWish(0, relu(0.0)), ActivationWish(0, relu(-0.5))
_CLIP = ActivationWish(0, clip(0.0, 1.0))
_ABS, _LOG, _SQRT = (ActivationWish(0, Activation("", "", kind)) for kind in ("Abs", "Log", "Sqrt"))
_SITUATIONS: tuple[tuple[LayerWish, ...], ...] = (
    (FullyConnectedWish(0, 9), _NORM, _LEAKY, BinaryWish(0, 7)),
    (_NORM, _RELU, _POINTWISE, _NORM, _RELU, _CONV, ConcatWish(6, 0, 1)),  # a layer of DenseNet
    (_NORM, _RELU, PoolingWish(0, "Avg3x3Stride2", 1, 1), _NORM),
    (_RELU, _LEAKY, _NORM, _LEAKY, _RELU, ActivationWish(0, relu(0.5)), ActivationWish(0, relu(2.0))),
    (_POINTWISE, _NORM, replace(_CONV, source=2), BinaryWish(0, 0), _RELU),
    (_CONV, _NORM, _RELU, _CONV, _NORM, BinaryWish(0, 4), _RELU),  # a residual block
    (_POINTWISE, replace(_POINTWISE, source=1), BinaryWish(0, 0), BinaryWish(0, 7)),
    (_RELU, ConcatWish(0, 0, 3), ConcatWish(0, 1, 3), ConcatWish(1, 0, 3)),  # the same parts in several wholes
    (_CONV, replace(_CONV, source=1), ConcatWish(0, 0, 3), _NORM, _RELU),
    (_RELU, replace(_RELU, source=1), BinaryWish(0, 0), _RELU, _RELU),  # the same ReLU twice
    # Depthwise convolutions of parts that end inside blocks.
    (_RELU, ConcatWish(0, 0, 3), replace(_CONV, groups=-1), _NORM, _LEAKY, _POINTWISE),
    (_POINTWISE, ConcatWish(0, 1, 3), _NORM, ConvWish(0, stride_h=2, stride_w=2, groups=-1), BinaryWish(0, 0), _CONV),
    # Averages that may come before 1x1 convolutions.
    (_NORM, _RELU, _POINTWISE, PoolingWish(0, "Avg2x2Stride2")),  # a transition of DenseNet
    (_POINTWISE, _NORM, PoolingWish(0, "AvgGlobal"), _RELU),
    (_NORM, _POINTWISE, PoolingWish(0, "Avg3x3Stride2", 1, 2), _NORM, BinaryWish(0, 0)),
    (replace(_POINTWISE, groups=-1), PoolingWish(0, "Avg2x2Stride2", 1, 1), PoolingWish(0, "Avg3x3Stride2")),
    (replace(_POINTWISE, groups=1), ActivationWish(0, relu(1.0)), PoolingWish(0, "Avg3x3Stride2"), _POINTWISE),
    # Functions that are NaN below 0, and make NaN of all that follows.
    (_CONV, _ABS, _LOG, _POINTWISE),
    (_NORM, _ABS, _SQRT, BinaryWish(0, 0)),
    (_CONV, _SQRT),
    # Functions of two tensors.
    (PoolingWish(0, "AvgGlobal"), _CLIP, replace(_CONV, source=2), BinaryWish(0, 0, "HW", node=Mul)),  # an epilogue
    (_CONV, _NORM, replace(_CONV, source=2), BinaryWish(0, 1, node=Sub), _RELU),
    (_CONV, replace(_CONV, source=1), BinaryWish(0, 0, node=Max), BinaryWish(0, 7, node=Min)),
    (
        ConvWish(0, 1),
        _CLIP,
        replace(_CONV, to_channels=19),
        BinaryWish(0, 0, "C", node=Mul),
        _CONV,
    ),  # pixels are weighed
    (_CONV, ActivationWish(0, clip(0.5, 2.0)), BinaryWish(1, 0, node=Div), _POINTWISE),
    (_CONV, PoolingWish(0, "AvgGlobal"), ActivationWish(0, clip(1.0, 3.0)), BinaryWish(2, 0, "HW", node=Div), _CONV),
)


@cache
def situations() -> st.SearchStrategy[list[Wish]]:
    """Layers among which some pass has something to do, or just has not, with outputs at any place."""

    def place(wishes: tuple[LayerWish, ...], source: int, outputs: int) -> list[Wish]:
        first, *others = wishes
        placed = (replace(first, source=source), *others)
        return [replace(wish, output=True) if outputs >> i & 1 else wish for i, wish in enumerate(placed)]

    outputs = st.sampled_from((0, 0, 0, 1, 2, 4, 3, 5, 127))
    return st.builds(place, st.sampled_from(_SITUATIONS), SOURCES, outputs)


_INNER: tuple[LayerWish, ...] = (
    _POINTWISE, _RELU, _NORM, _CONV, _LEAKY, replace(_CONV, groups=-1), replace(_CONV, groups=1, dilation_w=2),
)  # fmt: skip


@cache
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
            wishes += [ConvWish(len(inner)), BinaryWish(0, 0)]
        elif shortcut == 1:
            wishes.append(BinaryWish(0, len(inner) - 1))
        wishes += [*last, *(replace(conv, source=number) for number, conv in enumerate(strided))]
        if 0 <= output < len(wishes) and isinstance(wish := wishes[output], LayerWish):
            wishes[output] = replace(wish, output=True)
        return wishes

    channels = st.sampled_from((3, 16, 17))
    fresh = st.builds(InputWish, channels, st.integers(1, 9), st.integers(1, 9)).map(lambda wish: [wish, _POINTWISE])
    entries = fresh | st.builds(ConvWish, SOURCES, channels).map(lambda wish: [wish])
    strides = st.sampled_from(((2, 2), (2, 2), (2, 2), (2, 2), (2, 2), (3, 3), (2, 1), (1, 3)))
    alike = st.tuples(strides, st.integers(1, 3)).map(lambda drawn: [drawn[0]] * drawn[1])
    strided = weighted((3, alike), (1, st.lists(strides, min_size=2, max_size=2))).map(
        lambda drawn: [ConvWish(0, stride_h=rows, stride_w=columns) for rows, columns in drawn]
    )
    # What reads more pixels than it seems to: all that a filter sees, and others where padding shifts it.
    seeing = st.sampled_from((*[{}] * 8, {"filter_w": 2}, {"filter_h": 3}, {"padding_w": 1}, {"padding_h": 1}))
    strided = st.builds(lambda convs, more: [*convs[:-1], replace(convs[-1], **more)], strided, seeing)
    inner = st.lists(st.sampled_from(_INNER), min_size=1, max_size=5)
    last = st.lists(st.sampled_from((_RELU, _NORM)), max_size=2)
    outputs = st.sampled_from((*[-1] * 9, *range(9)))
    return st.builds(end, entries, inner, st.sampled_from((1, 1, 0, 2)), last, strided, outputs)


@cache
def gated_blocks() -> st.SearchStrategy[list[Wish]]:
    """Squeeze and excitation: a number per channel is made of a tensor and meets all its pixels; others read that."""

    def block(
        picture: Wish, made: LayerWish, squeezed: str, excited: list[LayerWish], after: list[LayerWish]
    ) -> list[Wish]:
        gate = BinaryWish(len(excited) + 2, 0, "HW", node=Mul)
        return [picture, made, PoolingWish(0, squeezed), *excited, _CLIP, gate, *after]

    picture = st.builds(InputWish, st.sampled_from((5, 16, 17, 35)), st.integers(2, 6), st.integers(1, 6))
    excited = st.lists(st.sampled_from((_POINTWISE, _RELU)), max_size=2)
    made = st.sampled_from((_POINTWISE, _CONV, _RELU, replace(_CONV, groups=-1)))
    after = st.lists(st.sampled_from((*_INNER, BinaryWish(0, 0), BinaryWish(0, 1))), max_size=2)
    return st.builds(block, picture, made, st.sampled_from(("AvgGlobal", "MaxGlobal")), excited, after)


@cache
def averaged_convs() -> st.SearchStrategy[list[Wish]]:
    """A 1x1 convolution, perhaps a norm, and an average with any padding: they may change places.

    They may not where the convolution is padded. A second convolution of the same tensor may want another average.
    """

    def place(
        source: int,
        conv: ConvWish,
        norm: bool,  # noqa: FBT001
        pooling: Wish,
        other: Wish | None,
    ) -> list[Wish]:
        wishes = [replace(conv, source=source), *([_NORM] if norm else []), pooling]
        return [*wishes, replace(_POINTWISE, source=len(wishes) + source), other] if other else wishes

    averages = st.sampled_from([kind for kind in POOLINGS if kind.startswith("Avg")])
    sides = st.integers(0, 2)
    pooling = st.builds(PoolingWish, st.just(0), averages, sides, sides, output=OUTPUTS)
    padding, groups = st.sampled_from((0, 0, 0, 1)), st.sampled_from((0, 0, -1, 1, 2))
    conv = st.builds(ConvWish, st.just(0), st.just(0) | sizes(), padding_h=padding, padding_w=padding, groups=groups)
    another = st.none() | st.builds(PoolingWish, st.just(0), st.just("Avg3x3Stride2"), sides, sides)
    return st.builds(place, SOURCES, conv, st.booleans(), pooling, another)


@cache
def first_layers() -> st.SearchStrategy[list[Wish]]:
    """A picture of few channels and a convolution on it: any filter, stride, padding and dilation."""
    sides = st.sampled_from((*EDGE_SIZES[:12], 29, 31, 50, 65))
    picture = st.builds(InputWish, st.sampled_from((3, 1, 2, 4)), sides, sides, INTERLEAVED)

    def reading(picture: Wish, conv: Wish) -> list[Wish]:
        assert isinstance(conv, ConvWish)
        return [picture, replace(conv, source=0)]

    return st.builds(reading, picture, weighted((1, usual_convs()), (2, dense_convs()), (1, pointwise_convs())))


@cache
def dense_blocks() -> st.SearchStrategy[list[Wish]]:
    """Layers that each see all results before them, as in DenseNet, whether these fill blocks of 16 channels or not."""

    def block(source: int, entry: int, growths: list[int]) -> list[Wish]:
        first = ConvWish(source, entry)
        return [first, *(w for k in growths for w in (_NORM, _RELU, ConvWish(0, k), ConcatWish(3, 0, 1)))]

    channels = st.sampled_from((16, 20, 32, 7, 12))
    return st.builds(block, SOURCES, channels, st.lists(channels, min_size=2, max_size=4))


@cache
def doublings() -> st.SearchStrategy[list[Wish]]:
    """A tensor joined with itself, that with itself, and so on, until there are too many segments to join in place."""
    picture = st.builds(InputWish, st.sampled_from((1, 3, 5, 17)), st.integers(1, 3), st.integers(1, 3))
    readers = (*_INNER, ConcatWish(0, 1, 5), FullyConnectedWish(0, 9), SoftmaxWish(0))
    consumers = st.lists(st.sampled_from(readers), min_size=1, max_size=3)

    def doubled(picture: Wish, times: int, consumers: list[Wish]) -> list[Wish]:
        return [picture, _RELU, *[ConcatWish(0, ITSELF, 3)] * times, *consumers]

    return st.builds(doubled, picture, st.sampled_from((2, 5, 6, 7, 7, 8)), consumers)


@cache
def repeated_layers() -> st.SearchStrategy[list[Wish]]:
    """The same few layers twice or three times: emitted functions may share their bodies."""
    channels = st.sampled_from((16, 20, 48))
    few = st.lists(st.sampled_from(_INNER), min_size=1, max_size=3)

    def repeat(source: int, entry: int, inner: list[Wish], times: int) -> list[Wish]:
        return [ConvWish(source, entry), *inner * times]

    return st.builds(repeat, SOURCES, channels, few, st.integers(2, 3))


@cache
def twins() -> st.SearchStrategy[list[Wish]]:
    """A layer and the same once more, perhaps the other way round; mostly something has to do with both."""

    def pair(first: list[Wish], swap: bool, output: bool, behind: list[Wish]) -> list[Wish]:  # noqa: FBT001
        return [*first, AgainWish(0, swap, output=output), *behind]

    functions = (BinaryWish(0, 0, node=Sub), BinaryWish(0, 0, node=Div), BinaryWish(0, 0, node=Max))
    meeting = st.sampled_from(functions).map(lambda wish: [_RELU, replace(_LEAKY, source=1), wish])
    first = wishes().map(lambda wish: [wish]) | meeting
    joined: tuple[tuple[Wish, ...], ...] = ((ConcatWish(0, 0, 3),), (BinaryWish(0, 0, node=Sub),), (_ABS,), ())
    return st.builds(pair, first, st.booleans(), OUTPUTS, st.sampled_from(joined).map(list))


@cache
def moved_channels() -> st.SearchStrategy[list[Wish]]:
    """Parts, and parts of parts, of a tensor that was perhaps joined of some: on borders of those, and anywhere."""
    counts = st.sampled_from((17, 20, 9, 16, 3, 33))
    picture = st.builds(InputWish, counts, st.integers(1, 4), st.integers(1, 4), INTERLEAVED)
    numbers = st.sampled_from((0, 1, 2, 3, 5, 9, 15, 16, 17))
    steps = st.sampled_from((1, 1, 2, 3))
    slices = st.builds(SliceWish, st.sampled_from((0, 0, 0, 1)), numbers, st.sampled_from((0, 0, 3, 9, 17)), steps)
    shuffles = st.builds(ShuffleWish, st.just(0), st.sampled_from((1, 2)))
    joins = st.builds(ConcatWish, st.just(0), st.integers(0, 2), st.just(3), st.booleans())
    moves = st.lists(weighted((4, slices), (1, shuffles), (1, joins)), min_size=1, max_size=3)

    def moved(picture: Wish, parts: list[int], border: int, moves: list[Wish], reader: list[Wish]) -> list[Wish]:
        """Convolutions of the picture, joined, and what is behind a border of the first so many."""
        if not parts:
            return [picture, *moves, *reader]
        made: list[Wish] = [ConvWish(number, count) for number, count in enumerate(parts)]
        joined = ConcatWish(len(parts) - 1, len(parts) - 2, 3, others=tuple(range(len(parts) - 3, -1, -1)))
        part = SliceWish(0, sum(parts[: border % len(parts)]), parts[border % len(parts)])
        return [picture, *made, joined, PoolingWish(0, "MaxGlobal"), replace(part, source=1), *moves, *reader]

    parts = weighted((1, st.just(())), (1, st.lists(counts, min_size=2, max_size=3)))
    readers = st.sampled_from(((), (_POINTWISE,), (_ABS,), (replace(_POINTWISE, source=1),)))
    return st.builds(moved, picture, parts, st.integers(0, 2), moves, readers.map(list))
