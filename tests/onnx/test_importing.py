"""Parts of models, several outputs, names in comments, and what leads nowhere."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nn512.errors import MachineError, UsageError
from nn512.graph import Shape, build
from nn512.onnx.importing import convert
from nn512.onnx.model import Cut, Declared, OnnxModel, OnnxNode
from nn512.onnx.naming import prefix_of
from nn512.onnx.reading import names_of, save_imported
from nn512.onnx.refusal import MOST_TOLD, Refusal, UnsupportedError

X = Declared("x", dims=(1, 4, 5, 6))


def model(*nodes: OnnxNode, outputs: str = "y", inputs: tuple[Declared, ...] = (X,), **options: Any) -> OnnxModel:
    return OnnxModel(17, nodes, inputs, tuple(Declared(name) for name in outputs.split()), **options)


def relu(reads: str, writes: str) -> OnnxNode:
    return OnnxNode("Relu", (reads,), (writes,), writes)


LSTM = OnnxNode("LSTM", ("a",), ("b",), "lstm")
MIDDLE = (relu("x", "a"), LSTM, relu("b", "c"), OnnxNode("Flatten", ("c",), ("y",)))


def test_a_part_behind_what_cannot_be_read() -> None:
    """The shape of the tensor to start from is what the model declares."""
    whole = model(*MIDDLE, declared={"b": ("batch", 4, 5, 6)})
    with pytest.raises(UnsupportedError, match="1 in all"):
        convert(whole, Cut({}))
    net = convert(whole, Cut({}, starts=("b",)))
    assert [seen.onnx for seen in net.inputs] == ["b"]
    assert net.graph.shapes == {"b": (4, 5, 6), "y": (4, 5, 6)}
    assert net.unused == ("x",)


def test_a_part_in_front_of_it() -> None:
    net = convert(model(*MIDDLE), Cut({}, ends=("a",)))
    assert net.graph.shapes == {"x": (4, 5, 6), "a": (4, 5, 6)}


def test_the_shape_in_the_middle_comes_from_the_nodes_before() -> None:
    net = convert(model(relu("x", "a"), relu("a", "b"), relu("b", "y")), Cut({}, starts=("b",)))
    assert net.graph.shapes == {"b": (4, 5, 6), "y": (4, 5, 6)}
    with pytest.raises(UsageError, match="--from b: its shape is unknown"):
        convert(model(*MIDDLE), Cut({}, starts=("b",)))


def test_open_extents_of_a_tensor_in_the_middle() -> None:
    whole = model(*MIDDLE, declared={"b": (1, 4, "rows", None)})
    with pytest.raises(UsageError, match=r"--dim b\.2, called rows .*\n.*--dim b\.3"):
        convert(whole, Cut({}, starts=("b",)))
    net = convert(whole, Cut({"rows": 2, "b.3": 3}, starts=("b",)))
    assert net.graph.shapes["b"] == Shape(4, 2, 3)


@pytest.mark.parametrize(("starts", "ends"), [(("q",), ()), ((), ("q",))])
def test_tensors_that_are_not_there(starts: tuple[str, ...], ends: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="the model has no tensor 'q'"):
        convert(model(*MIDDLE), Cut({}, starts, ends))


def test_one_tensor_as_several_outputs() -> None:
    """Two names of the model are one output here; and a view of it, too."""
    flat = OnnxNode("Flatten", ("r",), ("f",))
    same = OnnxNode("Identity", ("r",), ("s",))
    net = convert(model(relu("x", "r"), flat, same, outputs="r s f"), Cut({}))
    assert len(net.graph.outputs) == 1
    assert [(seen.onnx, seen.tensor) for seen in net.outputs] == [("r", "r"), ("s", "r"), ("f", "r")]
    assert net.text.splitlines()[-1] == "Output FromTensor=r  # r: 1x4x5x6; s: 1x4x5x6; f: 1x120"


def test_what_leads_nowhere_is_forgotten() -> None:
    other = Declared("other", "int64", (1, 7))
    net = convert(model(relu("x", "y"), OnnxNode("LSTM", ("other",), ("z",)), inputs=(X, other)), Cut({}))
    assert [type(layer).__name__ for layer in net.graph.layers] == ["Activation"]
    assert net.unused == ("other",)


def test_names_of_models_are_in_comments_whatever_they_are() -> None:
    odd = "Config\nInput\x1b[2J\ud800" + "x" * 200
    net = convert(model(relu("x", odd), relu(odd, "y")), Cut({}))
    assert "\x1b" not in net.text
    assert len(net.text.splitlines()) == 6
    assert (
        build([net.graph.config, *net.graph.inputs, *net.graph.layers, *net.graph.outputs]).layers == net.graph.layers
    )


def test_the_map_says_how_axes_stand(tmp_path: Any) -> None:
    turn = OnnxNode("Transpose", ("r",), ("y",), "", {"perm": (0, 2, 3, 1)})
    net = convert(model(relu("x", "r"), turn), Cut({}))
    (output,) = names_of(net)["outputs"]
    assert output == {"onnx": "y", "tensor": "y", "shape": (1, 5, 6, 4), "axes": ["", "H", "W", "C"]}
    save_imported(net, tmp_path / "net.graph", tmp_path / "net.npz", tmp_path / "net.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.graph", "net.json", "net.npz"]


def test_parameters_are_those_of_the_model() -> None:
    weights = np.arange(8, dtype=np.float64).reshape(2, 4, 1, 1)
    conv = OnnxNode("Conv", ("x", "block.0.conv.weight"), ("/block/Conv_output_0",))
    constants = {"block.0.conv.weight": weights}
    net = convert(model(conv, relu("/block/Conv_output_0", "y"), constants=constants), Cut({}))
    assert list(net.params) == ["block0convBiases", "block0convWeights"]
    assert net.params["block0convWeights"].dtype == np.float32
    assert net.parameters == {"block0convWeights": "block.0.conv.weight"}


@pytest.mark.parametrize(
    ("stem", "prefix"), [("resnet50-v1.5", "Resnet50v15"), ("7", "Net7"), ("", "Net"), ("モデル", "Net")]
)
def test_prefixes(stem: str, prefix: str) -> None:
    assert prefix_of(stem) == prefix


def test_long_lists_are_cut_and_counted() -> None:
    refusals = [Refusal("LSTM" if i % 2 else "GRU", f"n{i}", "no", "yes") for i in range(MOST_TOLD + 50)]
    lines = str(UnsupportedError("m.onnx", refusals)).splitlines()
    assert lines[0].endswith(f"{MOST_TOLD + 50} in all:")
    assert lines[-3] == "  ... and 50 more"
    assert lines[-2] == f"by operator: {MOST_TOLD // 2 + 25} GRU, {MOST_TOLD // 2 + 25} LSTM"


def test_the_type_of_what_cannot_be_read_is_unknown() -> None:
    """A cast to it is no cast to float32, whoever else reads it."""
    like = Declared("like", "of type 17", (1,))
    with pytest.raises(UnsupportedError, match="input 'like': it is of type 17"):
        convert(model(OnnxNode("CastLike", ("x", "like"), ("y",)), inputs=(X, like)), Cut({}))


def test_the_shape_of_an_input_that_is_refused_is_known() -> None:
    """What asks for it is not to blame, and the input is told alone."""
    numbers = Declared("x", "int32", (1, 4, 5, 6))
    nodes = (
        OnnxNode("Shape", ("x",), ("s",)),
        OnnxNode("Cast", ("s",), ("i",), "", {"to": 6}),
        OnnxNode("Cast", ("x",), ("f",), "", {"to": 1}),
        OnnxNode("Reshape", ("f", "i"), ("y",)),
    )
    with pytest.raises(UnsupportedError) as caught:
        convert(model(*nodes, inputs=(numbers,)), Cut({}))
    assert [str(refusal) for refusal in caught.value.refusals] == ["input 'x': it is int32; accepted: float32"]


def test_how_a_stand_in_is_arranged_is_nobodys_fault() -> None:
    """The first reader of what cannot be read settles its axes; what turned it for another one is not told."""
    nodes = (
        OnnxNode("LSTM", ("x",), ("b",), "lstm"),
        relu("b", "c"),
        OnnxNode("Transpose", ("c",), ("t",), "turn", {"perm": (0, 2, 1, 3)}),
        OnnxNode("GlobalAveragePool", ("b",), ("y",)),
        OnnxNode("GlobalAveragePool", ("t",), ("z",)),
    )
    with pytest.raises(UnsupportedError) as caught:
        convert(model(*nodes, outputs="y z", infer=lambda *_: (X.dims,)), Cut({}))
    assert [refusal.operator for refusal in caught.value.refusals] == ["LSTM"]


def test_a_node_that_has_not_the_form_of_its_operator_set() -> None:
    def complaint(node: OnnxNode, _: object) -> tuple[str, str] | None:
        return ("axis is missing", "all") if node.operator == "Relu" else None

    with pytest.raises(UnsupportedError, match="Relu 'y': axis is missing; accepted: all"):
        convert(model(relu("x", "y"), complaint=complaint), Cut({}))


@pytest.mark.parametrize("there_before", [False, True])
@pytest.mark.parametrize("too_large", ["net.npz", "net.json"])
def test_where_one_file_cannot_be_written_none_is(tmp_path: Path, too_large: str, *, there_before: bool) -> None:
    """A full disk, in whose place is a limit on the size of files."""
    weights, wide = np.zeros((100, 4, 1, 1)), "x" * 10_000
    size = 200 if too_large == "net.npz" else 1  # numbers for every weight
    conv = OnnxNode("Conv", ("x", "w"), ("c" if too_large == "net.npz" else wide,))
    net = convert(model(conv, relu(conv.writes[0], "y"), constants={"w": weights[:size]}), Cut({}))
    paths = [tmp_path / name for name in ("net.graph", "net.npz", "net.json")]
    if there_before:
        for path in paths:
            path.write_text("old")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, usual[1]))
    try:
        with pytest.raises(MachineError, match=f"cannot write .*{too_large}.: File too large"):
            save_imported(net, *paths)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_parts_of_axes_say_how_they_stand() -> None:
    """As in an output whose pixels are those of two channels in turn: nobody else could put them in order."""
    split = OnnxNode("Reshape", ("r", "s"), ("a",))
    turn = OnnxNode("Transpose", ("a",), ("t",), "", {"perm": (0, 2, 3, 4, 1)})
    join = OnnxNode("Reshape", ("t", "u"), ("y",))
    constants = {"s": np.array([1, 2, 2, 5, 6]), "u": np.array([1, 2, 5, 12])}
    net = convert(model(relu("x", "r"), split, turn, join, constants=constants), Cut({}))
    (output,) = net.outputs
    assert output.axes == ("", "C[2:1]", "H", "WC[2:2]")
    assert "1x2x5x12 of other order: 1 x C[2:1] x H x WC[2:2]" in net.text
