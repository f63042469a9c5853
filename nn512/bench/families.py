"""Families of graphs that grow by a number: nodes, operands, pixels or channels.

Each has a size at which it is measured, and four times that; `wide` ones grow in pixels or channels alone, and their
graphs have the same nodes at any size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Lines: TypeAlias = Callable[[int], Iterator[str]]
"""Gives the lines of a graph behind its Config and the Input x, for one size."""


@dataclass(frozen=True, slots=True)
class Family:
    """Graphs of one kind, and the sizes to measure; `x` is the shape of the first input, by the size where `wide`."""

    lines: Lines
    sizes: tuple[int, int] = (1000, 4000)
    x: Callable[[int], tuple[int, int, int]] = lambda _number: (16, 4, 4)
    wide: bool = False

    def text(self, number: int) -> str:
        """The graph of a size."""
        return "".join(f"{line}\n" for line in ("Config", _input("x", *self.x(number)), *self.lines(number)))


def _input(name: str, channels: int, height: int = 4, width: int = 4) -> str:
    return f"Input ToTensor={name} Channels={channels} Height={height} Width={width}"


def _conv(source: str, result: str, outputs: int = 16, more: str = "FilterH=1 FilterW=1") -> str:
    return f"Conv FromTensor={source} ToTensor={result} ToChannels={outputs} {more}"


def _relu(source: str, result: str, slope: float = 0.0) -> str:
    return f"Activation FromTensor={source} ToTensor={result} Kind=ReLU Param={slope:.6f}"


def _norm(source: str, result: str) -> str:
    return f"BatchNorm FromTensor={source} ToTensor={result}"


def _pool(source: str, result: str, kind: str = "Max3x3Stride2") -> str:
    return f"Pooling FromTensor={source} ToTensor={result} Kind={kind} PaddingH=1 PaddingW=1"


def _add(first: str, second: str, result: str) -> str:
    return f"Add FromTensor1={first} FromTensor2={second} ToTensor={result}"


def _concat(first: str, second: str, result: str) -> str:
    return f"Concat FromTensor1={first} FromTensor2={second} ToTensor={result}"


def _output(name: str) -> str:
    return f"Output FromTensor={name}"


def _chain(step: Callable[[str, str], str]) -> Lines:
    """One node after another, and the last one's result as the only output."""

    def lines(number: int) -> Iterator[str]:
        for i in range(number):
            yield step(f"t{i - 1}" if i else "x", f"t{i}")
        yield _output(f"t{number - 1}")

    return lines


def _siblings(step: Callable[[str, int], str]) -> Lines:
    """Nodes that all read x, and an output of each; `step` gives one by the name of its result and its number."""

    def lines(number: int) -> Iterator[str]:
        for i in range(number):
            yield step(f"t{i}", i)
            yield _output(f"t{i}")

    return lines


def _alternating(*steps: Callable[[str, str], str]) -> Lines:
    """A chain of nodes that take turns."""

    def lines(number: int) -> Iterator[str]:
        for i in range(number):
            yield steps[i % len(steps)](f"t{i - 1}" if i else "x", f"t{i}")
        yield _output(f"t{number - 1}")

    return lines


def _pairs(join: Callable[[str, str, str], str]) -> Lines:
    """Inputs two by two: each pair joined, the result an output."""

    def lines(number: int) -> Iterator[str]:
        for i in range(number):
            yield _input(f"a{i}", 5)
            yield _input(f"b{i}", 5)
            yield join(f"a{i}", f"b{i}", f"t{i}")
            yield _output(f"t{i}")
        yield _relu("x", "y")
        yield _output("y")

    return lines


def _sums_of_convolutions(number: int) -> Iterator[str]:
    """Each two of many convolutions of one input added."""
    for i in range(number):
        yield _conv("x", f"a{i}")
        yield _conv("x", f"b{i}", more="FilterH=3 FilterW=3 PaddingH=1 PaddingW=1")
        yield _add(f"a{i}", f"b{i}", f"t{i}")
        yield _output(f"t{i}")


def _convolutions_then(step: Callable[[str, str], str]) -> Lines:
    """Convolutions that are merged, each with a node that reads it and an output of that."""

    def lines(number: int) -> Iterator[str]:
        for i in range(number):
            yield _conv("x", f"c{i}")
            yield step(f"c{i}", f"t{i}")
            yield _output(f"t{i}")

    return lines


def _running_sum(number: int) -> Iterator[str]:
    """A sum of many convolutions of one input, one after another."""
    yield _conv("x", "c")
    yield _relu("c", "t0")
    for i in range(1, number):
        yield _conv("x", f"c{i}", more="FilterH=3 FilterW=3 PaddingH=1 PaddingW=1")
        yield _add(f"t{i - 1}", f"c{i}", f"t{i}")
    yield _output(f"t{number - 1}")


def _residuals(number: int) -> Iterator[str]:
    """Convolution, norm, sum with what came before, ReLU: over and over."""
    before = "x"
    for i in range(number):
        yield _conv(before, f"c{i}", more="FilterH=3 FilterW=3 PaddingH=1 PaddingW=1")
        yield _norm(f"c{i}", f"n{i}")
        yield _add(f"n{i}", before, f"s{i}")
        yield _relu(f"s{i}", f"t{i}")
        before = f"t{i}"
    yield _output(before)


def _dense(growth: int) -> Lines:
    """Every convolution reads all before it, joined."""

    def lines(number: int) -> Iterator[str]:
        before = "x"
        for i in range(number):
            yield _conv(before, f"c{i}", growth)
            yield _concat(before, f"c{i}", f"t{i}")
            before = f"t{i}"
        yield _output(before)

    return lines


def _thinned(number: int) -> Iterator[str]:
    """Convolutions of which the next one reads every second row and column."""
    yield _conv("x", "t0")
    for i in range(1, number):
        yield _conv(f"t{i - 1}", f"s{i}", more="FilterH=3 FilterW=3 PaddingH=1 PaddingW=1")
        yield _conv(f"s{i}", f"t{i}", more="FilterH=1 FilterW=1 StrideH=2 StrideW=2")
    yield _output(f"t{number - 1}")


def _averages(number: int) -> Iterator[str]:
    """An average behind a chain of pointwise convolutions."""
    for i in range(number):
        yield _conv(f"t{i - 1}" if i else "x", f"t{i}")
    yield f"Pooling FromTensor=t{number - 1} ToTensor=y Kind=AvgGlobal"
    yield _output("y")


def _norms_before_convolutions(number: int) -> Iterator[str]:
    """A chain of norms, then convolutions that all read its end."""
    for i in range(number):
        yield _norm(f"n{i - 1}" if i else "x", f"n{i}")
    for i in range(number):
        yield _conv(f"n{number - 1}", f"t{i}")
        yield _output(f"t{i}")


def _own_inputs(number: int) -> Iterator[str]:
    """A convolution of an input of its own for each output."""
    for i in range(number):
        yield _input(f"x{i}", 3)
        yield _conv(f"x{i}", f"t{i}", more="FilterH=3 FilterW=3 PaddingH=1 PaddingW=1")
        yield _output(f"t{i}")
    yield _relu("x", "y")
    yield _output("y")


CONSUMERS: Mapping[str, Callable[[str, str, int], str]] = {
    "conv": lambda source, result, _: _conv(source, result, more="FilterH=3 FilterW=3 PaddingH=1 PaddingW=1"),
    "grouped conv": lambda source, result, channels: _conv(
        source, result, channels, f"FilterH=1 FilterW=1 Groups={channels & -channels}"
    ),
    "norm": lambda source, result, _: _norm(source, result),
    "softmax": lambda source, result, _: f"Softmax FromTensor={source} ToTensor={result}",
    "full": lambda source, result, _: f"FullyConnected FromTensor={source} ToTensor={result} ToChannels=5",
}


def doubled(channels: int, consumer: str = "", *, apart: int = 0) -> Lines:
    """A tensor joined with itself, that with itself, and so on; a consumer of the end, and an output.

    `apart` channels of another tensor come in at every turn and shift what follows to other lanes.
    """

    def lines(number: int) -> Iterator[str]:
        yield _relu("x", "c0", 0.5)
        if apart:
            yield _conv("x", "odd", apart)
        end, total = "c0", channels
        for i in range(1, number + 1):
            yield _concat(end, end, f"c{i}")
            end, total = f"c{i}", 2 * total
            if apart:
                yield _concat(end, "odd", f"d{i}")
                end, total = f"d{i}", total + apart
        if consumer:
            yield CONSUMERS[consumer](end, "y", total)
            end = "y"
        yield _output(end)

    return lines


def fibonacci(consumer: str = "") -> Lines:
    """Two tensors joined, the result with the longer of them, and so on: no run of channels comes back."""

    def lines(number: int) -> Iterator[str]:
        yield _relu("x", "c0", 0.5)
        yield _conv("x", "c1", 5)
        sizes = [3, 5]
        for i in range(2, number + 2):
            yield _concat(f"c{i - 1}", f"c{i - 2}", f"c{i}")
            sizes.append(sizes[-1] + sizes[-2])
        end = f"c{number + 1}"
        if consumer:
            yield CONSUMERS[consumer](end, "y", sizes[-1])
            end = "y"
        yield _output(end)

    return lines


_POOLINGS = ("Max3x3Stride2", "Max2x2Stride2", "Avg3x3Stride2", "Avg2x2Stride2")


def _channels(channels: int) -> Callable[[int], tuple[int, int, int]]:
    """A first input of so many channels."""
    return lambda _number: (channels, 1, 2)


def _wide(x: Callable[[int], tuple[int, int, int]], *lines: str) -> Family:
    """The same nodes at any size of the picture or of the channels."""
    return Family(lambda _number: iter(lines), (2000, 8000), x, wide=True)


def _weights_and_norms(number: int) -> Iterator[str]:
    """Convolutions with a norm behind and a norm before."""
    for i in range(number):
        yield _norm(f"t{i - 1}" if i else "x", f"n{i}")
        yield _conv(f"n{i}", f"c{i}")
        yield _norm(f"c{i}", f"t{i}")
    yield _output(f"t{number - 1}")


FAMILIES: Mapping[str, Family] = {
    "chain of ReLUs": Family(_chain(_relu)),
    "chain of norms": Family(_chain(_norm)),
    "chain of convolutions": Family(_chain(_conv)),
    "chain of poolings": Family(
        _chain(lambda a, b: f"Pooling FromTensor={a} ToTensor={b} Kind=Max2x2Stride2 PaddingH=1 PaddingW=1")
    ),
    "chain of softmaxes": Family(_chain(lambda a, b: f"Softmax FromTensor={a} ToTensor={b}")),
    "chain of fully connected layers": Family(
        _chain(lambda a, b: f"FullyConnected FromTensor={a} ToTensor={b} ToChannels=16"), x=lambda _: (16, 1, 1)
    ),
    "chain of sums": Family(_chain(lambda a, b: _add(a, "x", b))),
    "chain of sums of itself": Family(_chain(lambda a, b: _add(a, a, b))),
    "chain of norms and convolutions": Family(_weights_and_norms),
    "chain of ReLUs and poolings": Family(_alternating(_relu, _pool)),
    "ReLUs of one tensor": Family(_siblings(lambda result, i: _relu("x", result, i / 8192))),
    "norms of one tensor": Family(_siblings(lambda result, _: _norm("x", result))),
    "convolutions of one tensor": Family(_siblings(lambda result, _: _conv("x", result))),
    "3x3 convolutions of one tensor": Family(
        _siblings(lambda result, _: _conv("x", result, 17, "FilterH=3 FilterW=3 PaddingH=1 PaddingW=1"))
    ),
    "grouped convolutions of one tensor": Family(
        _siblings(lambda result, _: _conv("x", result, 16, "FilterH=3 FilterW=3 Groups=16"))
    ),
    "softmaxes of one tensor": Family(_siblings(lambda result, _: f"Softmax FromTensor=x ToTensor={result}")),
    "poolings of one tensor": Family(_siblings(lambda result, i: _pool("x", result, _POOLINGS[i % len(_POOLINGS)]))),
    "fully connected layers of one tensor": Family(
        _siblings(lambda result, _: f"FullyConnected FromTensor=x ToTensor={result} ToChannels=3")
    ),
    "sums of pairs": Family(_pairs(_add)),
    "concatenations of pairs": Family(_pairs(_concat)),
    "inputs and outputs": Family(_own_inputs),
    "sums of two convolutions": Family(_sums_of_convolutions),
    "a sum of all convolutions": Family(_running_sum),
    "merged convolutions with ReLUs": Family(_convolutions_then(_relu)),
    "merged convolutions with poolings": Family(_convolutions_then(_pool)),
    "merged convolutions with averages": Family(
        _convolutions_then(lambda a, b: f"Pooling FromTensor={a} ToTensor={b} Kind=AvgGlobal")
    ),
    "residual blocks": Family(_residuals, (250, 1000)),
    "dense block, whole blocks": Family(_dense(16)),
    "dense block, odd channels": Family(_dense(5)),
    "thinned convolutions": Family(_thinned),
    "an average behind convolutions": Family(_averages),
    "norms before convolutions": Family(_norms_before_convolutions),
    **{
        f"{channels} channels joined with themselves, {consumer or 'output'}": Family(
            doubled(channels, consumer), (6, 24), _channels(channels)
        )
        for channels in (1, 3, 17)
        for consumer in ("", *CONSUMERS)
    },
    "3 channels joined with themselves and others": Family(doubled(3, "conv", apart=5), (6, 24), _channels(3)),
    "halves as Fibonacci numbers": Family(fibonacci("conv"), (8, 32), _channels(3)),
    "halves as Fibonacci numbers, softmax": Family(fibonacci("softmax"), (8, 32), _channels(3)),
    "pixels under 1x1": _wide(lambda n: (16, n, n), _conv("x", "y"), _output("y")),
    "pixels under 3x3": _wide(
        lambda n: (16, n, n), _conv("x", "y", more="FilterH=3 FilterW=3 PaddingH=2 PaddingW=2"), _output("y")
    ),
    "pixels under grouped 3x3": _wide(
        lambda n: (16, n, n), _conv("x", "y", more="FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=4"), _output("y")
    ),
    "pixels under wide padding": _wide(
        lambda n: (16, n, n), _conv("x", "y", more="FilterH=9 FilterW=9 PaddingH=40 PaddingW=40"), _output("y")
    ),
    "pixels of a picture": _wide(
        lambda n: (3, n, n), _conv("x", "y", more="FilterH=7 FilterW=7 PaddingH=3 PaddingW=3"), _output("y")
    ),
    "pixels under a pooling": _wide(lambda n: (16, n, n), _pool("x", "y"), _output("y")),
    "channels of a softmax": _wide(
        lambda n: (n * n, 1, 1), "Softmax FromTensor=x ToTensor=y", _output("y")
    ),
    "channels of a concatenation": _wide(
        lambda n: (n * n, 1, 1), _relu("x", "r"), _conv("x", "c", 5), _concat("r", "c", "d"), _norm("d", "e"),
        "FullyConnected FromTensor=e ToTensor=y ToChannels=9", _output("y"), _output("d"),
    ),
    "groups": _wide(
        lambda n: (9, n, 4), _relu("x", "r"), _conv("x", "c", 5), _concat("r", "c", "d"),
        _conv("d", "y", 14, "FilterH=1 FilterW=1 Groups=7"), _output("y"),
    ),
}  # fmt: skip
"""All families by what they are."""
