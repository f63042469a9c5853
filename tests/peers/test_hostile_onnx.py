"""Broken and hostile ONNX files end in a message, whatever is wrong, and leave no file behind."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nn512.cli import main
from nn512.errors import UsageError
from nn512.graph import parse
from nn512.onnx import export_onnx, from_onnx
from nn512.params import random_params

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # what others warn about is theirs

GRAPH = """
Config
Input ToTensor=x Channels=4 Height=6 Width=6
Conv FromTensor=x ToTensor=a ToChannels=4 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=2
BatchNorm FromTensor=a ToTensor=b
Activation FromTensor=b ToTensor=c Kind=Clip Min=0 Max=6
Add FromTensor1=a FromTensor2=c ToTensor=d
Concat FromTensor1=d FromTensor2=c ToTensor=e
Pooling FromTensor=e ToTensor=f Kind=Avg2x2Stride2
FullyConnected FromTensor=f ToTensor=g ToChannels=3
Softmax FromTensor=g ToTensor=y
Output FromTensor=y
"""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model with a node of every kind."""
    pytest.importorskip("onnx", reason="onnx is not installed: broken models not tried")
    path = tmp_path_factory.mktemp("sound") / "net.onnx"
    graph = parse(GRAPH)
    export_onnx(path, graph, random_params(graph, 0))
    return path.read_bytes()


def read(data: bytes) -> Any:
    return importlib.import_module("onnx").ModelProto.FromString(data)


def told(data: bytes, folder: Path) -> str:
    """What the command line says of a model; it must be one message, and nothing may be written."""
    path = folder / "net.onnx"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        from_onnx(path)
    before = sorted(folder.iterdir())
    out = [str(folder / "out.graph"), "--params", str(folder / "out.npz"), "--map", str(folder / "out.json")]
    assert main(["import", str(path), "-o", *out]) == 2
    assert sorted(folder.iterdir()) == before
    return str(caught.value)


def test_the_sound_one_is_read(sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(sound)
    assert len(from_onnx(path).graph.layers) == 8


def test_nodes_in_any_order_and_inputs_with_values(sound: bytes, tmp_path: Path) -> None:
    """Exporters leave nodes unsorted; in old files every tensor is an input, too."""
    onnx = importlib.import_module("onnx")
    model = read(sound)
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for tensor in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, 1, tensor.dims))
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    assert [type(layer).__name__ for layer in from_onnx(path).graph.layers] == [
        type(layer).__name__ for layer in parse(GRAPH).layers
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it has no graph"),
        (b"PK\x03\x04", "is no ONNX model"),
        (b"\xff" * 1000, "is no ONNX model"),
        (b'{"graph": {}}', "is no ONNX model"),
    ],
)
def test_what_is_no_model(data: bytes, message: str, sound: bytes, tmp_path: Path) -> None:  # noqa: ARG001
    assert message in told(data, tmp_path)


def test_truncated(sound: bytes, tmp_path: Path) -> None:
    assert "is no ONNX model" in told(sound[: len(sound) // 2], tmp_path)


def change_circle(model: Any) -> None:
    model.graph.node[0].input[0] = model.graph.node[-1].output[0]


def change_itself(model: Any) -> None:
    model.graph.node[1].input[0] = model.graph.node[1].output[0]


def change_twice(model: Any) -> None:
    model.graph.node[1].output[0] = model.graph.node[0].output[0]


def change_two_tensors(model: Any) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def change_two_inputs(model: Any) -> None:
    model.graph.input.append(model.graph.input[0])


def change_missing(model: Any) -> None:
    model.graph.node[0].input[0] = "nowhere"


def change_missing_output(model: Any) -> None:
    model.graph.output[0].name = "nowhere"


def change_old(model: Any) -> None:
    model.opset_import[0].version = 6


def change_new(model: Any) -> None:
    model.opset_import[0].version = 25


def change_no_set(model: Any) -> None:
    del model.opset_import[:]


def change_string(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = 8


def change_sequence(model: Any) -> None:
    model.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = 1


def change_huge_input(model: Any) -> None:
    for dim in model.graph.input[0].type.tensor_type.shape.dim:
        dim.dim_value = 1 << 62


def change_negative_tensor(model: Any) -> None:
    model.graph.initializer[0].dims[0] = -4


def change_huge_tensor(model: Any) -> None:
    model.graph.initializer[0].dims[0] = 1 << 40


def change_short_tensor(model: Any) -> None:
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]


def change_type_of_tensor(model: Any) -> None:
    model.graph.initializer[0].data_type = 15


def change_huge_constant(model: Any) -> None:
    onnx = importlib.import_module("onnx")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "size"))
    model.graph.node.insert(0, onnx.helper.make_node("ConstantOfShape", ["size"], ["huge"]))
    model.graph.node[1].input[1] = "huge"


def change_graph_in_attribute(model: Any) -> None:
    onnx = importlib.import_module("onnx")
    branch = onnx.helper.make_graph([], "branch", [], [])
    model.graph.node.insert(0, onnx.helper.make_node("If", ["x"], ["z"], then_branch=branch, else_branch=branch))
    model.graph.node[1].input[0] = "z"


def change_foreign(model: Any) -> None:
    model.graph.node[0].domain = "com.example"


def change_no_output(model: Any) -> None:
    del model.graph.output[:]


CHANGES: dict[Callable[[Any], None], str] = {
    change_circle: "its nodes form a circle",
    change_itself: "its nodes form a circle",
    change_twice: "two nodes or tensors write 'a'",
    change_two_tensors: "two tensors are called",
    change_two_inputs: "'x' is there twice",
    change_missing: "reads 'nowhere', which nothing writes",
    change_missing_output: "nothing writes its output 'nowhere'",
    change_old: "the model is not read: its operator set is 6, which is too old; 7 to 24 are read",
    change_new: "the model is not read: its operator set is 25, which is too new; 7 to 24 are read",
    change_no_set: "it names no operator set",
    change_string: "input 'x': it is of type 8; accepted: float32",
    change_sequence: "input 'x': it is a sequence; accepted: float32",
    change_huge_input: "input 'x': it is",
    change_negative_tensor: "has a negative extent",
    change_huge_tensor: "is too large",
    change_short_tensor: "promises",
    change_type_of_tensor: "no plain numbers",
    change_huge_constant: "ConstantOfShape 'huge': a constant of 1048576x1048576",
    change_graph_in_attribute: "If 'z'",
    change_foreign: "com.example::Conv",
    change_no_output: "has no outputs",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.removeprefix("change_"))
def test_broken_models(change: Callable[[Any], None], sound: bytes, tmp_path: Path) -> None:
    model = read(sound)
    change(model)
    assert CHANGES[change] in told(model.SerializeToString(), tmp_path)


# --- nodes that no model may have -------------------------------------------------------------------------------------

ROW = np.array([0])
WIDE = np.ones((2, 4, 1, 1))

WRONG: Sequence[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("missing", ("Relu", ",", "y"), {}, "input X is missing"),
    ("missing of two", ("Add", "x,", "y"), {}, "input B is missing"),
    ("lengths", ("Slice", "x,s,e", "y"), {"s": ROW, "e": np.array([1, 2])}, "1 starts, 2 ends, 1 axes, 1 steps"),
    ("number", ("Slice", "x,s,e", "y"), {"s": ROW, "e": np.array(1)}, "ends are int64 a single number"),
    ("floats", ("Slice", "x,s,e", "y"), {"s": ROW * 1.0, "e": ROW + 1}, "input starts ('s') is float64"),
    (
        "twice",
        ("Slice", "x,s,s,t", "y"),
        {"s": np.array([0, 0]), "t": np.array([1, -3])},
        "axes=1,-3 name an axis twice",
    ),
    ("step", ("Slice", "x,s,e,t,z", "y"), {"s": ROW, "e": ROW + 1, "t": ROW + 1, "z": ROW}, "steps=0"),
    ("parts", ("Split", "x", "y,z", {"axis": 1, "num_outputs": 3}), {}, "num_outputs=3 of a node with 2 outputs"),
    ("no parts", ("Split", "x", "y,z", {"axis": 1, "num_outputs": 0}), {}, "num_outputs=0 of a node with 2 outputs"),
    ("both", ("Split", "x,s", "y,z", {"axis": 1, "num_outputs": 2}), {"s": np.array([2, 2])}, "num_outputs=2 beside"),
    ("integers", ("Conv", "x,w", "y"), {"w": WIDE.astype(np.int64)}, "input W ('w') is int64"),
    ("types", ("Add", "x,w", "y"), {"w": np.array([1])}, "input B ('w') is int64; accepted: the type of the other"),
    (
        "padding",
        ("Conv", "x,w", "y", {"auto_pad": "SAME_UPPER", "pads": [0, 1, 1, 0]}),
        {"w": WIDE.astype(np.float32)},
        "auto_pad=SAME_UPPER beside pads=0,1,1,0",
    ),
]


def with_node(node: tuple[Any, ...], constants: Mapping[str, Any], *before: tuple[Any, ...]) -> bytes:
    """A model from x, 1x4x6x6, to y."""
    helper, convert = importlib.import_module("onnx").helper, importlib.import_module("onnx").numpy_helper.from_array
    made = [helper.make_node(n[0], n[1].split(","), n[2].split(","), **dict(*n[3:])) for n in (*before, node)]
    if node[1] == ",":
        made[-1].input[:] = [""]
    body = helper.make_graph(
        made,
        "net",
        [helper.make_tensor_value_info("x", 1, (1, 4, 6, 6))],
        [helper.make_tensor_value_info("y", 1, None)],
        [convert(array, name) for name, array in constants.items()],
    )
    return bytes(helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())


@pytest.mark.parametrize(
    ("node", "constants", "message"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_wrong_nodes(node: tuple[Any, ...], constants: dict[str, Any], message: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed: wrong nodes not tried")
    assert f"{node[0]} 'y': {message}" in told(with_node(node, constants), tmp_path)


@pytest.mark.parametrize(
    ("node", "constants", "message"),
    [
        (("Range", "a,b,d"), {"a": 0, "b": 8, "d": 0}, "delta is 0"),
        (("Range", "a,b,d"), {"a": 0.0, "b": np.nan, "d": 1.0}, "limit is nan"),
        (("Range", "a,b,d"), {"a": 0, "b": [8, 9], "d": 1}, "limit has 2 numbers"),
        (("Tile", "a,b"), {"a": [1.0], "b": [1, 2]}, "2 repeats for 1 axes"),
        (("Div", "a,b"), {"a": [1], "b": [0]}, "integers divided by 0"),
        (("Concat", "a,b"), {"a": [1.0], "b": [[1.0]]}, "cannot be computed of float64 1, float64 1x1, axis=0"),
        (("Split", "a,b"), {"a": [1.0, 2, 3], "b": [4, -1]}, "parts that do not fit"),
    ],
)
def test_wrong_constants(node: tuple[str, str], constants: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Nodes that are computed at once."""
    pytest.importorskip("onnx", reason="onnx is not installed: wrong nodes not tried")
    arrays = {name: np.asarray(array) for name, array in constants.items()}
    first = (*node, "z,u" if node[0] == "Split" else "z", {"axis": 0} if node[0] in {"Concat", "Split"} else {})
    assert f"{node[0]} 'z': {message}" in told(with_node(("Add", "x,z", "y"), arrays, first), tmp_path)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "VALID"])
def test_padding_of_zeros_beside_a_mode_is_no_contradiction(mode: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed: wrong nodes not tried")
    path = tmp_path / "net.onnx"
    node = ("Conv", "x,w", "y", {"auto_pad": mode, "pads": [0, 0, 0, 0]})
    path.write_bytes(with_node(node, {"w": WIDE.astype(np.float32)}))
    assert len(from_onnx(path).graph.layers) == 1


# --- numbers in files beside the model --------------------------------------------------------------------------------


def outside(sound: bytes, **where: str) -> bytes:
    """The model with its first tensor in another file."""
    model = read(sound)
    onnx = importlib.import_module("onnx")
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in where.items():
        tensor.external_data.add(key=key, value=value)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    "location",
    ["../secret", "/etc/passwd", "a/../../secret", "", "..", "a\0b", "..\\secret", "link", "pipe", "folder", "none"],
)
def test_no_other_file_is_read(location: str, sound: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(4096))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    assert "is in the file" in told(outside(sound, location=location), folder)


@pytest.mark.parametrize(
    "where", [{"offset": "4000"}, {"offset": "-4"}, {"length": "8"}, {"offset": "x"}, {"length": str(1 << 62)}]
)
def test_wrong_places_in_a_file(where: dict[str, str], sound: bytes, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(4000))
    assert "tensor 'aBiases'" in told(outside(sound, location="data", **where), tmp_path)


def test_numbers_in_a_file_beside(sound: bytes, tmp_path: Path) -> None:
    biases = np.arange(4, dtype=np.float32)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "data").write_bytes(bytes(8) + biases.tobytes())
    path = tmp_path / "net.onnx"
    path.write_bytes(outside(sound, location="sub/data", offset="8", length="16"))
    np.testing.assert_array_equal(from_onnx(path).params["aBiases"], biases)
