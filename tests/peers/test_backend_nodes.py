"""ONNX's own tests of single nodes: each is imported and gives the same in the emitted C, or is refused by its name.

What they show is counted in nn512/onnx/support.json, which the table of `nn512 doc onnx` shows; run pytest with
--update-golden to write it anew.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nn512.errors import UsageError
from nn512.onnx import Imported, UnsupportedError
from nn512.onnx.importing import BY_OPERATOR, convert
from nn512.onnx.load import model_of
from nn512.onnx.model import NEWEST_OPSET, OLDEST_OPSET, Cut
from nn512.onnx.support import COUNTS
from nn512.onnx.view import elements
from nn512.params import array_of
from nn512.session import Session

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # what others warn about is theirs


def cases() -> Iterator[tuple[str, Any]]:
    """All of them, with the operator that is tested where it is read, else with nothing.

    Those of newer operator sets are taken as of ours. Many are whole functions, spelled in other operators.
    """
    for case in importlib.import_module("onnx.backend.test.case.node").collect_testcases():
        nodes = case.model.graph.node
        for entry in case.model.opset_import:
            entry.version = min(entry.version, NEWEST_OPSET)
        yield nodes[0].op_type if len(nodes) == 1 and nodes[0].op_type in BY_OPERATOR else "", case


def versions(operator: str) -> list[int]:
    """Operator sets of ours that define the operator anew, and the last one before them if that holds on."""
    schemas = importlib.import_module("onnx.defs").get_all_schemas_with_history()
    found = sorted({s.since_version for s in schemas if s.name == operator and not s.domain})
    before = [version for version in found if version < OLDEST_OPSET][-1:]
    if OLDEST_OPSET in found:
        before = []
    return [*before, *(version for version in found if OLDEST_OPSET <= version <= NEWEST_OPSET)]


def plain(value: Any) -> Any:
    """A number, an array or a tensor of the package as an array; None for anything else."""
    onnx = importlib.import_module("onnx")
    if isinstance(value, onnx.TensorProto):
        value = onnx.numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None


def attempts(case: Any) -> Iterator[tuple[Imported, dict[str, Any], list[Any]]]:
    """The case as an import with its inputs and outputs, in the ways in which it can be one.

    As it is; with all inputs but the first as constants, as models have them; and where neither is, with a batch of
    one, of which the package itself says what it gives.
    """
    onnx = importlib.import_module("onnx")
    inputs, outputs = ([plain(value) for value in values] for values in case.data_sets[0])
    names = [info.name for info in case.model.graph.input]
    data = dict(zip(names, inputs, strict=False))
    first = next(iter(data), "")
    is_tensor = bool(names) and case.model.graph.input[0].type.HasField("tensor_type")
    shape = data[first].shape if is_tensor else ()
    imported = False
    for constants, pinned in ((False, False), (True, False), (True, True)):
        if (constants and not pinned and len(data) < 2) or (pinned and (imported or not shape or shape[0] < 2)):
            continue
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        if constants:
            others = [onnx.numpy_helper.from_array(data[name], name) for name in names[1:] if data[name] is not None]
            model.graph.initializer.extend(others)
        cut = Cut({f"{first}.0": 1} if pinned else {})
        given = data | ({first: data[first][:1]} if pinned else {})
        try:
            net = convert(model_of(onnx, model.SerializeToString(), Path(case.name)), cut)
        except UsageError as error:
            if not is_told(error, case):
                pytest.fail(f"{case.name}: {error}")
        else:
            imported = True
            yield net, given, of_package(case.model, given) if pinned else outputs


def of_package(model: Any, data: dict[str, Any]) -> list[Any]:
    """What the package's interpreter of models gives."""
    evaluator = importlib.import_module("onnx.reference").ReferenceEvaluator(model)
    return [plain(value) for value in evaluator.run(None, {k: v for k, v in data.items() if v is not None})]


def is_told(error: UsageError, case: Any) -> bool:
    """Whether it says which nodes, inputs or outputs are at fault, and what of them."""
    if not isinstance(error, UnsupportedError):
        return OTHERS.search(str(error)) is not None
    operators = {node.op_type for node in case.model.graph.node} | {"input", "output", "model"}
    return all(r.operator.rpartition("::")[2] in operators and r.what and r.accepted for r in error.refusals)


OTHERS = re.compile("it names no operator set of ONNX|its operator set is|which are no plain numbers|has no outputs")
"""What else is said: of foreign or ancient operator sets, of texts and of four bits."""


def is_right(net: Imported, data: dict[str, Any], wanted: list[Any], names: list[str]) -> bool:
    """Whether the emitted C gives what the case says."""
    given = {}
    for seen in net.inputs:
        shape = net.graph.shapes[seen.tensor]
        flat = np.empty(shape.elements, np.float32)
        flat[elements(seen.dims, np.arange(shape.elements).reshape(shape)).reshape(-1)] = data[seen.onnx].reshape(-1)
        (node,) = (node for node in net.graph.inputs if node.to_tensor == seen.tensor)
        given[seen.tensor] = array_of(node, flat.reshape(shape))
    with Session(net.graph, net.params) as session:
        results = session.run(given)
    for seen in net.outputs:
        got, expected = elements(seen.dims, results[seen.tensor]), np.asarray(wanted[names.index(seen.onnx)])
        within = 2**-8 if expected.dtype.itemsize == 2 else 1e-3  # bfloat16 and float16 are float32 here
        expected = expected.astype(np.float64)
        if got.shape != expected.shape or not np.allclose(got, expected, rtol=within, atol=1e-5, equal_nan=True):
            return False
    return True


@pytest.mark.usefixtures("runs_here")
def test_single_nodes(request: pytest.FixtureRequest) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: its tests of nodes not run")
    release = onnx.__version__
    counts: dict[str, list[int]] = {}
    wrong = []
    for operator, case in cases():
        names = [info.name for info in case.model.graph.output]
        right = [is_right(*attempt, names) for attempt in attempts(case)]
        counts.setdefault(operator, [0, 0])[not right] += 1
        if not all(right):
            wrong.append(case.name)
    assert wrong == []
    others = counts.pop("")
    table = {name: [versions(name), *counts.get(name, (0, 0))] for name in sorted(BY_OPERATOR)}
    if request.config.getoption("--update-golden"):
        lines = ",\n".join(f" {json.dumps(operator)}: {json.dumps(numbers)}" for operator, numbers in table.items())
        head = f'"onnx": "{release}", "others": {json.dumps(others)}'
        COUNTS.write_text(f'{{{head}, "operators": {{\n{lines}\n}}}}\n', "utf-8")
    known = json.loads(COUNTS.read_text("utf-8"))
    if known["onnx"] == release:  # another release has other tests
        assert (known["operators"], known["others"]) == (table, others)
    assert sum(passed for passed, _ in counts.values()) > 120
