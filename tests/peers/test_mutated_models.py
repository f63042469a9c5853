"""Mutated ONNX models end in a message, or in a net that computes what others say the model does; never in a traceback.

Others are ONNX Runtime and, where that does not take a model, the reference evaluator of the package onnx.
"""

from __future__ import annotations

import importlib
import io
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reference
from fuzz import draw
from fuzz.draw import regimes
from nn512.cli import main
from nn512.cli.compare_onnx import HALF_SLACK, MOST_SIGMA, SLACK, _part, has_halves, off_by
from nn512.errors import UsageError
from nn512.graph import Graph, parse
from nn512.onnx import Imported, export_onnx, from_onnx
from nn512.onnx.view import elements, sizes
from nn512.params import random_params, tensor_of

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # what others warn about is theirs

MUTANTS = 500
"""Models with something broken in them, of each kind."""

MOST_SECONDS = 10
"""Processor time after which a mutant counts as hanging; they take some milliseconds."""

GRAPH = """
Config
Input ToTensor=x Channels=4 Height=6 Width=6
Conv FromTensor=x ToTensor=a ToChannels=4 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1 Groups=2
BatchNorm FromTensor=a ToTensor=b
Activation FromTensor=b ToTensor=c Kind=Clip Min=0 Max=6
Add FromTensor1=a FromTensor2=c ToTensor=d
Shuffle FromTensor=d ToTensor=s Groups=2
Slice FromTensor=c ToTensor=t From=1 Count=2
Concat FromTensor1=s FromTensor2=t ToTensor=e
Pooling FromTensor=e ToTensor=f Kind=Avg2x2Stride2
FullyConnected FromTensor=f ToTensor=g ToChannels=3
Softmax FromTensor=g ToTensor=y
Output FromTensor=y
"""

NOBODY = "an LRN that ONNX Runtime does not take"
"""What nobody can be asked about."""

Draw: TypeAlias = Callable[[Any], Any]
Mutation: TypeAlias = Callable[[Any, Draw], None]

INTEGERS = st.sampled_from((-2, -1, 0, 1, 2, 3, 4, 7, 13, 1 << 16, (1 << 31) - 1, 1 << 31, 1 << 62, -(1 << 63)))
REALS = st.sampled_from((0.0, -0.0, 1.0, 0.5, -3.0, 1e-30, 3.4e38, float("inf"), float("nan"))) | st.floats(width=32)
OPERATORS = st.sampled_from(
    """Relu Add Mul Sub Div Concat Flatten Reshape Transpose Pad Clip Softmax MatMul Gemm Slice GlobalAveragePool
    GlobalMaxPool ReduceMean ReduceMax Squeeze Unsqueeze Expand Split Shape Gather Dropout Identity MaxPool AveragePool
    PRelu Sum HardSigmoid HardSwish Sigmoid Tanh Elu LeakyRelu Range If ConstantOfShape Cast CastLike Max Min Neg Exp
    Sqrt Pow Erf LRN LogSoftmax InstanceNormalization LayerNormalization Tile DepthToSpace Where Abs""".split()
)
ATTRIBUTES = st.sampled_from(
    """axis axes perm pads auto_pad group kernel_shape strides dilations to epsilon alpha beta transA transB ceil_mode
    count_include_pad keepdims allowzero mode value min max storage_order momentum training_mode num_outputs
    split""".split()
)
MODES = st.sampled_from((b"", b"\xff", b"SAME_UPPER", b"SAME_LOWER", b"VALID", b"NOTSET", b"constant", b"reflect"))


@contextmanager
def not_for_ever() -> Iterator[None]:
    """Ends what hangs, by processor time: a busy machine is none of our business."""

    def stop(*_: object) -> None:
        raise AssertionError(f"it took {MOST_SECONDS} seconds of the processor")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


# --- mutations --------------------------------------------------------------------------------------------------------


def some_node(model: Any, choose: Draw) -> Any:
    return choose(st.sampled_from(list(model.graph.node)))


def some_tensor(model: Any, choose: Draw) -> Any:
    tensors = list(model.graph.initializer)
    tensors += [a.t for node in model.graph.node for a in node.attribute if a.type == 4]
    return choose(st.sampled_from(tensors)) if tensors else None


def some_name(model: Any, choose: Draw) -> str:
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    return str(choose(st.sampled_from(["", "new", *names])))


def another_operator(model: Any, choose: Draw) -> None:
    some_node(model, choose).op_type = choose(OPERATORS)


def another_input(model: Any, choose: Draw) -> None:
    node = some_node(model, choose)
    if node.input:
        node.input[choose(st.integers(0, len(node.input) - 1))] = some_name(model, choose)


def swapped_inputs(model: Any, choose: Draw) -> None:
    node = some_node(model, choose)
    order = choose(st.permutations(list(node.input)))
    del node.input[:]
    node.input.extend(order)


def more_inputs(model: Any, choose: Draw) -> None:
    some_node(model, choose).input.extend(some_name(model, choose) for _ in range(choose(st.integers(1, 3))))


def fewer_inputs(model: Any, choose: Draw) -> None:
    node = some_node(model, choose)
    del node.input[choose(st.integers(0, len(node.input))) :]


def another_result(model: Any, choose: Draw) -> None:
    some_node(model, choose).output[0] = some_name(model, choose)


def more_results(model: Any, choose: Draw) -> None:
    some_node(model, choose).output.extend(choose(st.lists(st.sampled_from(("", "new", "other")), max_size=2)))


def dropped_node(model: Any, choose: Draw) -> None:
    """Its readers read what it read."""
    place = choose(st.integers(0, len(model.graph.node) - 1))
    gone = model.graph.node[place]
    if choose(st.booleans()) and gone.input:
        for node in model.graph.node:
            for i, name in enumerate(node.input):
                if name in gone.output:
                    node.input[i] = gone.input[0]
    if len(model.graph.node) > 1:
        del model.graph.node[place]


def doubled_node(model: Any, choose: Draw) -> None:
    """Its copy stands between it and its readers."""
    place = choose(st.integers(0, len(model.graph.node) - 1))
    copied = type(model.graph.node[place])()
    copied.CopyFrom(model.graph.node[place])
    if copied.input:
        model.graph.node[place].output[0] = "before"
        copied.input[0] = "before"
        model.graph.node.insert(place + 1, copied)


def changed_attribute(model: Any, choose: Draw) -> None:
    """One number of it, or all."""
    attributes = [attribute for node in model.graph.node for attribute in node.attribute]
    if attributes:
        attribute = choose(st.sampled_from(attributes))
        attribute.i, attribute.f, attribute.s = choose(INTEGERS), choose(REALS), choose(MODES)
        for i in range(len(attribute.ints)):
            if choose(st.booleans()):
                attribute.ints[i] = choose(INTEGERS)
        if choose(st.integers(0, 4)) == 0:
            del attribute.ints[1:]


def dropped_attribute(model: Any, choose: Draw) -> None:
    node = some_node(model, choose)
    if node.attribute:
        del node.attribute[choose(st.integers(0, len(node.attribute) - 1))]


def added_attribute(model: Any, choose: Draw) -> None:
    node, kind = some_node(model, choose), choose(st.sampled_from((1, 2, 3, 7)) | st.integers(0, 14))
    attribute = node.attribute.add(name=choose(ATTRIBUTES), type=kind)
    attribute.i, attribute.f, attribute.s = choose(INTEGERS), choose(REALS), choose(MODES)
    attribute.ints.extend(choose(st.lists(INTEGERS, max_size=4)))


def changed_extents(model: Any, choose: Draw) -> None:
    tensor = some_tensor(model, choose)
    if tensor is not None:
        extents = choose(st.permutations(list(tensor.dims)) | st.lists(INTEGERS, max_size=4))
        del tensor.dims[:]
        tensor.dims.extend(extents)


def changed_type(model: Any, choose: Draw) -> None:
    tensor = some_tensor(model, choose)
    if tensor is not None:
        tensor.data_type = choose(st.integers(0, 23))


def cut_tensor(model: Any, choose: Draw) -> None:
    tensor = some_tensor(model, choose)
    if tensor is not None:
        tensor.raw_data = tensor.raw_data[: choose(st.integers(0, len(tensor.raw_data)))]


def other_numbers(model: Any, choose: Draw) -> None:
    """Floats become others, among them those that are not finite; integers, such as shapes and axes, too."""
    tensor = some_tensor(model, choose)
    if tensor is None or not tensor.raw_data:
        return
    kind, numbers = (np.int64, INTEGERS) if tensor.data_type == 7 else (np.float32, REALS)
    array = np.frombuffer(tensor.raw_data[: len(tensor.raw_data) // 8 * 8], kind).copy()
    for _ in range(choose(st.integers(1, 3)) if array.size else 0):
        with np.errstate(all="ignore"):
            array[choose(st.integers(0, array.size - 1))] = choose(numbers)
    tensor.raw_data = array.tobytes() + tensor.raw_data[array.nbytes :]


def other_input_shape(model: Any, choose: Draw) -> None:
    info = choose(st.sampled_from(list(model.graph.input)))
    extents = info.type.tensor_type.shape.dim
    match choose(st.integers(0, 3)):
        case 0 if extents:
            del extents[choose(st.integers(0, len(extents) - 1))]
        case 1:
            extents.add(dim_value=choose(INTEGERS))
        case 2 if extents:
            choose(st.sampled_from(list(extents))).dim_param = "open"
        case _ if extents:
            choose(st.sampled_from(list(extents))).dim_value = choose(INTEGERS)


def other_input_type(model: Any, choose: Draw) -> None:
    choose(st.sampled_from(list(model.graph.input))).type.tensor_type.elem_type = choose(st.integers(0, 23))


def another_output(model: Any, choose: Draw) -> None:
    """Of a shape that nobody states."""
    output = choose(st.sampled_from(list(model.graph.output)))
    output.name = some_name(model, choose)
    output.type.tensor_type.ClearField("shape")


def another_opset(model: Any, choose: Draw) -> None:
    model.opset_import[0].version = choose(st.integers(6, 25))


MUTATIONS: tuple[Mutation, ...] = (
    another_operator,
    another_input,
    swapped_inputs,
    more_inputs,
    fewer_inputs,
    another_result,
    more_results,
    dropped_node,
    doubled_node,
    changed_attribute,
    dropped_attribute,
    added_attribute,
    changed_extents,
    changed_type,
    cut_tensor,
    other_numbers,
    other_input_shape,
    other_input_type,
    another_output,
    another_opset,
)


def mutated_bytes(data: bytes, choose: Draw) -> bytes:
    """Change, remove or add some bytes."""
    broken = bytearray(data)
    for _ in range(choose(st.integers(1, 3))):
        place = choose(st.integers(0, len(broken) - 1))
        match choose(st.integers(0, 3)):
            case 0:
                broken[place] = choose(st.integers(0, 255))
            case 1:
                del broken[place : place + choose(st.integers(1, 20))]
            case 2:
                broken[place:place] = choose(st.binary(min_size=1, max_size=8))
            case _:
                broken[place] ^= 1 << choose(st.integers(0, 7))
    return bytes(broken)


# --- what becomes of them ---------------------------------------------------------------------------------------------


def by_onnxruntime(model: Any, feeds: Mapping[str, Any], names: list[str]) -> list[Any]:
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(names, feeds))


def by_onnx(model: Any, feeds: Mapping[str, Any], names: list[str]) -> list[Any]:
    """What the package onnx says; of LRN it says something else than its own specification (1.23.2 skips channels)."""
    if any(node.op_type == "LRN" for node in model.graph.node):
        raise NotImplementedError(NOBODY)
    return list(importlib.import_module("onnx.reference").ReferenceEvaluator(model).run(names, feeds))


def runnable(path: Path, net: Imported) -> Any:
    """What of a model leads to its outputs, of the shape that is imported: others refuse what is broken elsewhere."""
    onnx = importlib.import_module("onnx")
    model = onnx.ModelProto.FromString(_part(onnx, path, net, [seen.onnx for seen in net.outputs]))
    shapes = {seen.onnx: sizes(seen.dims) for seen in net.inputs}
    for info in model.graph.input:
        for extent, size in zip(info.type.tensor_type.shape.dim, shapes[info.name], strict=True):
            extent.dim_value = size
    return model


def judged(path: Path, net: Imported) -> str:
    """Who takes the model and says the same of it as our reference, or why nobody takes it.

    AssertionError where anybody says something else.
    """
    why = ""
    model = runnable(path, net)
    drawn = regimes.draw(net.graph, "gaussian", 0).inputs
    planes = {node.to_tensor: tensor_of(node, drawn[node.to_tensor]) for node in net.graph.inputs}
    feeds = {s.onnx: elements(s.dims, planes[s.tensor]).astype(s.type, copy=False) for s in net.inputs}
    names = [seen.onnx for seen in net.outputs]
    for name, ask in (("ONNX Runtime", by_onnxruntime), ("onnx", by_onnx)):
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                answers = ask(model, feeds, names)
        except Exception as error:  # noqa: BLE001 - of their own kinds
            why = f"{name}: {error}"
            continue
        expected = reference.run(net.graph, net.params, drawn)
        slack = HALF_SLACK if has_halves(path) else SLACK
        for seen, answer in zip(net.outputs, answers, strict=True):
            off = off_by(expected[seen.tensor], answer, seen, slack)
            assert off <= MOST_SIGMA, f"{name} is {off:.3g} sigma off\n{net.text}"
        return name
    return why


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model with a node of many kinds."""
    pytest.importorskip("onnx", reason=f"onnx is not installed: {2 * MUTANTS} mutated models not tried")
    pytest.importorskip("onnxruntime", reason=f"onnxruntime is not installed: {2 * MUTANTS} mutated models not tried")
    path = tmp_path_factory.mktemp("sound") / "net.onnx"
    graph = parse(GRAPH)
    export_onnx(path, graph, random_params(graph, 0))
    return path.read_bytes()


@pytest.fixture
def ends(tmp_path: Path) -> Callable[[bytes], str]:
    """A function that says what becomes of a model: `message`, or who computes the same as the net that it becomes."""
    path = tmp_path / "net.onnx"

    def end(data: bytes) -> str:
        path.write_bytes(data)
        try:
            with not_for_ever():
                net = from_onnx(path)
        except UsageError:
            return "message"
        assert parse(net.text).layers == net.graph.layers
        return judged(path, net)

    return end


def is_expected(found: Counter[str]) -> None:
    """Whether there were both nets and messages, and of every net somebody who says the same."""
    assert set(found) <= {"message", "ONNX Runtime", "onnx", f"onnx: {NOBODY}"}, found
    assert found["message"] > MUTANTS / 10, found
    assert found["ONNX Runtime"] + found["onnx"] > MUTANTS / 20, found


def test_broken_bytes(sound: bytes, ends: Callable[[bytes], str]) -> None:
    found: Counter[str] = Counter()

    @settings(max_examples=MUTANTS, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def try_one(data: st.DataObject) -> None:
        found[ends(mutated_bytes(sound, data.draw))] += 1

    try_one()
    is_expected(found)


def test_changed_models(sound: bytes, ends: Callable[[bytes], str], tmp_path: Path) -> None:
    """Some of them of one model, most of any."""
    model_of = importlib.import_module("onnx").ModelProto.FromString
    path = tmp_path / "drawn.onnx"
    found: Counter[str] = Counter()

    @settings(max_examples=MUTANTS, suppress_health_check=list(HealthCheck))
    @given(st.none() | draw.graphs(max_layers=6), st.data())
    def try_one(graph: Graph | None, data: st.DataObject) -> None:
        if graph is not None:
            export_onnx(path, graph, regimes.draw(graph, "gaussian", 0).params)
        model = model_of(sound if graph is None else path.read_bytes())
        for _ in range(data.draw(st.sampled_from((1, 1, 2)))):
            data.draw(st.sampled_from(MUTATIONS))(model, data.draw)
        found[ends(model.SerializeToString())] += 1

    try_one()
    is_expected(found)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_every_mutation_changes_something(mutation: Mutation, sound: bytes) -> None:
    model_of = importlib.import_module("onnx").ModelProto.FromString
    changed: list[bool] = []

    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def try_one(data: st.DataObject) -> None:
        model = model_of(sound)
        mutation(model, data.draw)
        changed.append(model.SerializeToString() != sound)

    try_one()
    assert any(changed)


def test_the_command_line_says_one_message(sound: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, nothing printed but the message, and no file."""
    model = importlib.import_module("onnx").ModelProto.FromString(sound)
    model.graph.node[0].op_type = "Det"
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    out = [str(tmp_path / "out.graph"), "--params", str(tmp_path / "out.npz")]
    assert main(["import", str(path), "-o", *out]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Det" in printed.err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["net.onnx"]
