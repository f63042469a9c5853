"""Nets of all operations but convolutions, for every edge class of their kernels."""

from __future__ import annotations

from collections.abc import Iterator

from fuzz.draw.edges.net import TAILS, EdgeNet, conv, net, picture, segments, shuffled

_SLABS = (512, 257)
"""Pixels of which each block moves in several parts."""

_RELU = "Activation FromTensor=x ToTensor=y Kind=ReLU"


def full_nets() -> Iterator[EdgeNet]:
    """Fully connected: every remainder of inputs and outputs, every width of a panel."""
    for n in TAILS:
        yield net(picture(n, 2, 3), f"FullyConnected FromTensor=x ToTensor=y ToChannels={n}")
    for n in TAILS:  # of pairs
        yield net(picture(2 * n, 1, 2), "FullyConnected FromTensor=x ToTensor=y ToChannels=3")
    for outputs in (64, 128, 144):
        yield net(*segments(20, 1, 2), f"FullyConnected FromTensor=pieces ToTensor=y ToChannels={outputs}")
    yield net(*shuffled(39, 2, 3), "FullyConnected FromTensor=mixed ToTensor=y ToChannels=17")


def pooling_nets() -> Iterator[EdgeNet]:
    """Whole pictures, windows of every width, overlapping and apart, padded and cut."""
    for what in ("Max", "Avg"):
        for n in TAILS:
            yield net(picture(n, 1, n), f"Pooling FromTensor=x ToTensor=y Kind={what}Global")
        for n in range(1, 10):
            window = f"Kind={what} WindowH=2 WindowW={n} StrideH=2 StrideW={n}"
            yield net(picture(3 + n, 4, 2 * n), f"Pooling FromTensor=x ToTensor=y {window}")
        for more in (
            "WindowH=3 WindowW=3 PaddingH=1 PaddingW=1",
            "WindowH=1 WindowW=1 StrideH=2 StrideW=2",
            "WindowH=3 WindowW=11 PaddingW=5",
        ):
            yield net(picture(19, 7, 12), f"Pooling FromTensor=x ToTensor=y Kind={what} {more}")
    counted = "Kind=Avg CountPadding=1 WindowH=3 WindowW=3 PaddingH=1 PaddingW=1"
    yield net(picture(19, 7, 12), f"Pooling FromTensor=x ToTensor=y {counted}")


def sampling_nets() -> Iterator[EdgeNet]:
    """A sum of which a strided convolution reads every second row and column."""
    for n in TAILS:
        yield net(
            picture(n, 5, 6),
            "Softmax FromTensor=x ToTensor=soft",
            "Activation FromTensor=soft ToTensor=relu Kind=ReLU Param=-0.5",
            conv(n, (3, 3), same=True, to="a"),
            "Add FromTensor1=a FromTensor2=relu ToTensor=sum",
            conv(17, more="StrideH=2 StrideW=2", source="sum", to="y"),
            "Pooling FromTensor=relu ToTensor=pooled Kind=Avg2x2Stride2",
        )


def softmax_nets() -> Iterator[EdgeNet]:
    """Blocks of channels and segments of them, with every remainder."""
    for n in TAILS:
        yield net(picture(n, 2, 3), "Softmax FromTensor=x ToTensor=y")
        yield net(*segments(n + 1, 2, 3), "Softmax FromTensor=pieces ToTensor=y")


def channel_norm_nets() -> Iterator[EdgeNet]:
    """The same, and every remainder of pixels; steps on what is read, in segments, too."""
    for kind in ("LayerNorm", "RMSNorm"):
        yield net(picture(19, 3, 7), _RELU, f"{kind} FromTensor=y ToTensor=z Epsilon=0.001")
        soft = "Activation FromTensor=pieces ToTensor=y Kind=Softplus"
        yield net(*segments(19, 2, 3), soft, f"{kind} FromTensor=y ToTensor=z Epsilon=0.001")
        for n in TAILS:
            yield net(picture(n + 16, 1, 17 - n), f"{kind} FromTensor=x ToTensor=y Epsilon=0.001")
            yield net(*segments(n + 1, 2, 3), f"{kind} FromTensor=pieces ToTensor=y Epsilon=0.001")


def lrn_nets() -> Iterator[EdgeNet]:
    """One block and several, windows of both kinds, exponents that are quarters or not; one pixel, two and three."""
    for n in TAILS:
        more = f"Size={2 + n % 2} Alpha=1 Beta={0.6 if n % 3 else 0.75}"
        yield net(picture(n + 16 * (n % 4), 1, 1 + n % 3), f"LRN FromTensor=x ToTensor=y {more}")


def elementwise_nets() -> Iterator[EdgeNet]:
    """Every remainder of channels."""
    return (net(picture(n, 2, 3), _RELU) for n in TAILS)


def load_nets() -> Iterator[EdgeNet]:
    """Planes and pixels in every number, and rows with zeros beside them."""
    for n in TAILS:
        yield net(picture(n, 1, n), _RELU)
        yield net(picture(n + 4, 1, n + 16), _RELU)
        yield net(picture(1 + n % 4, 1, n + 16), _RELU)
        yield net(picture(n + 1, 2, 3, order="HWC"), _RELU)
    for order in ("CHW", "HWC"):
        yield net(picture(3, 12, 12, order=order), conv(16, (3, 3), same=True))


def store_nets() -> Iterator[EdgeNet]:
    """Results of every remainder, single pixels and segments."""
    for n in TAILS:
        yield net(picture(n, 1, n + 1), _RELU)
    yield net(picture(5), _RELU)
    yield net(*segments(9, 2, 3))


def concat_nets() -> Iterator[EdgeNet]:
    """Copies of channels, where they may not be where they shall stand, and of rows and columns."""
    relus = [f"Activation FromTensor={name} ToTensor={name}r Kind=ReLU" for name in "ab"]
    for n in TAILS:
        parts = (picture(n, 2, 3, "a"), picture(17 - n, 2, 3, "b"), *relus)
        yield net(*parts, "Concat FromTensor1=ar FromTensor2=br ToTensor=c", without=("drop_concat",))
    for axis in ("Height", "Width"):
        parts = (picture(19, 2, 3, "a"), picture(19, 2, 3, "b"), *relus)
        yield net(*parts, f"Concat FromTensor1=ar FromTensor2=br ToTensor=c Axis={axis}")


def copy_nets() -> Iterator[EdgeNet]:
    """A part that is there twice."""
    for n in TAILS:
        yield net(picture(n, 2, 3), _RELU, "Concat FromTensor1=y FromTensor2=y ToTensor=c")


def relayout_nets() -> Iterator[EdgeNet]:
    """Operands that stand in other lanes, more segments than a layout may have, pictures in slabs."""
    for n in TAILS:
        whole = (conv(n + 1, to="w"), "Activation FromTensor=w ToTensor=r Kind=ReLU")
        for pixels in _SLABS if n == 1 else (6,):
            yield net(*segments(n + 1, 1, pixels), *whole, "Add FromTensor1=r FromTensor2=pieces ToTensor=y")
    yield net(
        *segments(17, 2, 3),
        conv(4, to="four"),
        conv(13, to="rest"),
        "Concat FromTensor1=four FromTensor2=rest ToTensor=whole",
        "Add FromTensor1=pieces FromTensor2=whole ToTensor=y",
    )
    for first, second in (("pieces", "r"), ("r", "pieces")):
        whole = (conv(17, to="w"), "Activation FromTensor=w ToTensor=r Kind=ReLU")
        joined = f"Concat FromTensor1={first} FromTensor2={second} ToTensor=y Axis=Height"
        yield net(*segments(17, 2, 3), *whole, joined)
    lines = [picture(3, 2, 2), conv(1, to="c0"), "Activation FromTensor=c0 ToTensor=d0 Kind=ReLU"]
    lines += [f"Concat FromTensor1=d{n} FromTensor2=d{n} ToTensor=d{n + 1}" for n in range(7)]
    yield net(*lines, "Softmax FromTensor=d7 ToTensor=y")


def pick_nets() -> Iterator[EdgeNet]:
    """Runs of channels from every lane, whole blocks, every second channel, several tensors."""
    for n in TAILS:
        yield net(picture(33, 2, 3), f"Slice FromTensor=x ToTensor=y From={n} Count={n}")
        yield net(picture(33, 2, 3), f"Slice FromTensor=x ToTensor=y From=16 Count={n}", without=("view_slices",))
        yield net(picture(2 * n, 2, 3), f"Slice FromTensor=x ToTensor=y From=0 Count={n} Step=2")
    yield net(*segments(20, 2, 3), "Slice FromTensor=pieces ToTensor=y From=0 Count=9", without=("view_slices",))
    for pixels in _SLABS:
        yield net(picture(6, 1, pixels), "Slice FromTensor=x ToTensor=y From=1 Count=4")
        yield net(picture(6, 1, pixels), "Shuffle FromTensor=x ToTensor=y Groups=2")
    relus = [f"Activation FromTensor={name} ToTensor={name}r Kind=ReLU" for name in "ab"]
    yield net(
        *(picture(5, 2, 3, name) for name in "ab"),
        *relus,
        "Concat FromTensor1=ar FromTensor2=br ToTensor=c",
        "Shuffle FromTensor=c ToTensor=y Groups=2",
    )


def crop_nets() -> Iterator[EdgeNet]:
    """Some rows or columns, neighbours or not."""
    for axis in ("Height", "Width"):
        for step in (1, 2):
            yield net(picture(19, 5, 7), f"Slice FromTensor=x ToTensor=y From=1 Count=2 Step={step} Axis={axis}")


def pad_nets() -> Iterator[EdgeNet]:
    """Padding that would take too many kinds of tiles: whole tiles of it."""
    for n in TAILS:
        sides = ("PaddingTop=1 PaddingLeft=33", "PaddingBottom=1 PaddingRight=33")[n % 2]
        yield net(picture(n, 3, 40), _RELU, conv(5, (2, 3), sides, source="y", to="z"))
