"""What an import gives: the graph under names like the model's, its parameters, and how ONNX sees its tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nn512.graph import Config, Graph, Input, Node, Output, format_node, parse
from nn512.graph.diagnostics import visible
from nn512.onnx import view
from nn512.onnx.model import Cut, OnnxModel
from nn512.onnx.naming import Names, readable, stem
from nn512.onnx.view import Dims
from nn512.onnx.work import Draft, Tensor, Work
from nn512.params import Params, show_shape

MOST_COMMENT = 100
"""Characters of a model's name that a comment shows."""

Ends = Sequence[tuple[str, Tensor]]
"""The outputs: their names in the model, and what they are."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How ONNX sees an input, an output or a tensor between: its name there, the tensor here, and the view."""

    onnx: str
    tensor: str
    dims: Dims
    type: str = "float32"

    @property
    def is_usual(self) -> bool:
        """Whether the numbers stand as channels x height x width."""
        return self._stands_as(view.AXES)

    @property
    def is_interleaved(self) -> bool:
        """Whether they stand as height x width x channels, or ONNX has these axes although it makes no difference."""
        shape = view.sizes(self.dims)[1:]
        if len(shape) == 3 and self.is_usual:
            pixels = ((), *map(view.whole, ("H", "W", "C"), shape))
            return self.dims == pixels != ((), *map(view.whole, view.AXES, shape))
        return self._stands_as(("H", "W", "C")) and not self.is_usual

    @property
    def axes(self) -> tuple[str, ...]:
        """What every ONNX axis runs through, the last of it fastest: of `C[3:4]` three channels, four apart."""
        parts = Counter(factor.axis for dim in self.dims for factor in dim)
        return tuple(
            "".join(f.axis if parts[f.axis] == 1 else f"{f.axis}[{f.size}:{f.stride}]" for f in dim)
            for dim in self.dims
        )

    def _stands_as(self, order: Sequence[str]) -> bool:
        places = [factor for dim in self.dims for factor in dim]
        return places == sorted(places, key=lambda f: (order.index(f.axis), -f.stride))


@dataclass(frozen=True, slots=True)
class Imported:
    """A graph, its text with the model's names in comments, its parameters, and how ONNX sees its tensors.

    `parameters` says for parameters that were taken as they are which initializer they were.
    """

    graph: Graph
    text: str
    params: Params
    inputs: tuple[Seen, ...]
    outputs: tuple[Seen, ...]
    inner: tuple[Seen, ...]
    parameters: Mapping[str, str]
    unused: tuple[str, ...]


def finished(
    work: Work, model: OnnxModel, cut: Cut, live: Collection[str], ends: Ends, types: Mapping[str, str]
) -> Imported:
    """The graph of the `live` drafts. `types` are those of the inputs that are not float32."""
    drafts = {name: draft for name, draft in work.drafts.items() if name in live}
    names = _names(drafts, model, () if cut.invented_ends else ends)
    inputs, outputs = _seen_inputs(work, drafts, names, types), _seen_outputs(names, ends)
    interleaved = {seen.tensor for seen in inputs if seen.is_interleaved}
    nodes = [
        replace(node, order="HWC") if isinstance(node, Input) and node.to_tensor in interleaved else node
        for node in (draft.node.renamed(names) for draft in drafts.values() if draft.node is not None)
    ]
    of = {names[name]: draft.tensor for name, draft in drafts.items()}
    text = _text(model, Config(cut.prefix), nodes, of, (*inputs, *outputs))
    graph = parse(text, "<import>")
    arrays = {names[name] + suffix: array for name, d in drafts.items() for suffix, array in d.params.items()}
    taken = set(of.values())
    return Imported(
        graph,
        text,
        {parameter.name: np.ascontiguousarray(arrays[parameter.name]) for parameter in graph.parameters},
        inputs,
        outputs,
        _seen_between(work, drafts, names),
        {
            names[name] + suffix: draft.stem
            for name, draft in drafts.items()
            for suffix in draft.params
            if draft.stem and suffix in {"Weights", "Scales"}
        },
        tuple(sorted(declared.name for declared in model.inputs if declared.name not in taken)),
    )


def _names(drafts: Mapping[str, Draft], model: OnnxModel, ends: Ends) -> dict[str, str]:
    """The final names: outputs and inputs keep theirs if they can, layers are called after their parameters.

    One without any is called after the submodule of PyTorch that it alone is, or after its tensor there.
    """
    writers = {written: node for node in model.nodes for written in node.writes}
    modules = {name: writers[d.tensor].module if d.tensor in writers else "" for name, d in drafts.items()}
    layers = Counter(modules.values())
    outputs = {tensor.name: onnx for onnx, tensor in reversed(ends)}
    first = [name for name in drafts if name in outputs]
    first += [name for name, draft in drafts.items() if isinstance(draft.node, Input)]
    names, given = Names(), {}
    for name in dict.fromkeys([*first, *drafts]):
        draft = drafts[name]
        wanted = outputs.get(name, "") if name in first else stem(draft.stem)
        module = modules[name]
        if not wanted and module:
            wanted = module if layers[module] == 1 else f"{module}.{draft.tensor}"
        operator = writers[draft.tensor].operator if draft.tensor in writers else ""
        given[name] = names.give(readable(wanted or draft.tensor, operator))
    return given


def _seen_inputs(
    work: Work, drafts: Mapping[str, Draft], names: Mapping[str, str], types: Mapping[str, str]
) -> tuple[Seen, ...]:
    found = []
    for name, draft in drafts.items():
        value = work.values.get(draft.tensor)
        if isinstance(draft.node, Input) and isinstance(value, Tensor):
            dims = work.settled(value).dims
            found.append(Seen(draft.tensor, names[name], dims, types.get(draft.tensor, "float32")))
    return tuple(found)


def _seen_outputs(names: Mapping[str, str], ends: Ends) -> tuple[Seen, ...]:
    return tuple(Seen(onnx, names[tensor.name], tensor.dims) for onnx, tensor in ends)


def _seen_between(work: Work, drafts: Mapping[str, Draft], names: Mapping[str, str]) -> tuple[Seen, ...]:
    """Tensors of the model that are, or are views of, what a layer computes."""
    values = [(onnx, value) for onnx, value in work.values.items() if isinstance(value, Tensor)]
    return tuple(
        Seen(onnx, names[value.name], work.settled(value).dims)
        for onnx, value in values
        if value.name in drafts and value.padding is None and not isinstance(drafts[value.name].node, Input)
    )


# --- text -------------------------------------------------------------------------------------------------------------


def _text(model: OnnxModel, config: Config, nodes: Sequence[Node], of: Mapping[str, str], ends: Sequence[Seen]) -> str:
    """The graph with the model's names in comments."""
    told: dict[str, list[str]] = {}
    inputs = sum(isinstance(node, Input) for node in nodes)
    for number, seen in enumerate(ends):
        told.setdefault(seen.tensor, []).append(_seen(seen, is_input=number < inputs))
    lines = [f"# {_comment(model.origin)}, operator set {model.opset}", format_node(config)]
    for wanted in (True, False):
        for node in nodes:
            if isinstance(node, Input) is wanted and node.writes is not None:
                comment = told[node.writes][0] if wanted else _comment(of[node.writes])
                lines.append(f"{format_node(node)}  # {comment}")
    outputs = dict.fromkeys(seen.tensor for seen in ends[inputs:])
    lines += [f"{format_node(Output(name))}  # {'; '.join(told[name])}" for name in outputs]
    return "\n".join(lines) + "\n"


def _seen(seen: Seen, *, is_input: bool) -> str:
    shape = show_shape(view.sizes(seen.dims))
    axes = " x ".join(axis or "1" for axis in seen.axes)
    told = "" if seen.is_usual or (is_input and seen.is_interleaved) else f" of other order: {axes}"
    return f"{_comment(seen.onnx)}: {shape}{told}"


def _comment(text: str) -> str:
    shown = visible(text.encode("utf-8", "replace").decode("utf-8"))
    return shown if len(shown) <= MOST_COMMENT else shown[: MOST_COMMENT - 3] + "..."
