"""An ONNX model to a graph with its parameters: reads node by node, forgets what leads nowhere, gives names."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import prod

from nn512.errors import UsageError
from nn512.graph import Activation, Input
from nn512.graph.diagnostics import visible
from nn512.onnx import view
from nn512.onnx.folding import MOST_ELEMENTS, fold
from nn512.onnx.imported import Imported, finished
from nn512.onnx.kinds import RULES
from nn512.onnx.kinds.activation import recognized
from nn512.onnx.kinds.layer_norm import CENTRED_RULE
from nn512.onnx.kinds.rms_norm import PLAIN_RULE
from nn512.onnx.kinds.shuffle import shuffled
from nn512.onnx.model import Cut, Declared, Extent, OnnxModel, OnnxNode
from nn512.onnx.parts import joined
from nn512.onnx.plumbing import PLUMBING_RULES
from nn512.onnx.pointwise import Bases, sampled
from nn512.onnx.refusal import Refusal, RefusedError, UnsupportedError
from nn512.onnx.rules import Rule
from nn512.onnx.work import Draft, Known, Lost, Reading, Tensor, Value, Work, shape_of
from nn512.params import show_shape

BY_OPERATOR: Mapping[str, Rule] = {rule.operator: rule for rules in (*RULES.values(), PLUMBING_RULES) for rule in rules}
"""The rule for every operator that is read."""

IN_PARTS: Mapping[str, Rule] = {rule.operator: rule for rule in (CENTRED_RULE, PLAIN_RULE)}
"""Those for nodes that stand for several of the model."""

MOST_SAMPLED = 200
"""Tensors whose values as functions of others are kept, 30 MB."""

_FLOATS = ("float32", "float16", "float64", "bfloat16")


MOST_READINGS = 9
"""Ways to read the inputs of one model that are tried, all those of two inputs."""


def convert(model: OnnxModel, cut: Cut) -> Imported:
    """Import a model. Raises UnsupportedError with all that the language cannot say, UsageError for a wrong cut.

    The first layer that reads an input tells which of its axes are channels. Behind a Transpose this may be a guess, so
    what is refused is read again with the channels elsewhere. The refusals of the first time are told.
    """
    first = _Import(model, cut, {}, {})
    try:
        return first.run()
    except UnsupportedError as error:
        if not all(refusal.operator in {*BY_OPERATOR, *IN_PARTS, "output"} for refusal in error.refusals):
            raise
        inputs, values = first.work.inputs_of_rank(3, 4), first.work.values
        known = {name: value for name, value in values.items() if isinstance(value, Known)}
        del first, values
        for readings in _other_readings(inputs):
            with suppress(UnsupportedError):
                return _Import(model, cut, readings, known).run()
        raise


def _other_readings(inputs: Sequence[str]) -> list[dict[str, Reading]]:
    """Other ways to read these inputs: all alike, and every mixture where those are few."""
    mixed = itertools.product(Reading, repeat=len(inputs)) if len(Reading) ** len(inputs) <= MOST_READINGS else ()
    alike = [(reading,) * len(inputs) for reading in Reading]
    chosen = [found for found in dict.fromkeys([*alike, *mixed]) if set(found) - {Reading.BY_READER}]
    return [dict(zip(inputs, found, strict=True)) for found in chosen]


class _Import:
    """One model on its way. `known` are constants computed before, which no reading of inputs changes."""

    def __init__(self, model: OnnxModel, cut: Cut, readings: Mapping[str, Reading], known: Mapping[str, Known]) -> None:
        self.model, self.cut, self.known = model, cut, known
        self.work = Work(model.opset, model.infer, readings)
        self.samples: dict[str, Bases] = {}
        self.refused: list[Refusal] = []  # of inputs
        self.types: dict[str, str] = {}

    def run(self) -> Imported:
        model, cut = self.model, self.cut
        known = {name for node in model.nodes for name in node.writes} | {i.name for i in model.inputs}
        for option, names in (("--from", cut.starts), ("--to", cut.ends)):
            for name in names:
                if name not in known:
                    raise UsageError(f"{option}: the model has no tensor {name!r}")
        work = self.work
        work.values.update({name: Known(array) for name, array in model.constants.items()})
        work.values.update(self.known)
        ends = [Declared(name) for name in cut.ends] or list(model.outputs)
        # A tensor to start from whose shape the model does not declare gets it from the nodes before it.
        spelled = joined(model.nodes, model.constants, cut.starts)
        needed, nodes = _behind(spelled, {end.name for end in ends}, set(cut.starts) & set(model.declared))
        missing = sorted(end.name for end in ends if end.name not in known and end.name not in model.constants)
        if missing:
            raise UsageError(f"{model.origin!r} is broken: nothing writes its output {missing[0]!r}")
        work.readers.update(Counter(name for node in nodes for name in node.reads))
        work.readers.update({end.name: work.readers.get(end.name, 0) + 1 for end in ends})
        self._make_inputs(needed, nodes)
        for node in nodes:
            if any(name and name not in self.known for name in node.writes):
                self._read(node)
        wrong = sorted(set(cut.dims) - self._names_of_extents())
        if wrong:
            raise UsageError(f"--dim {wrong[0]}: no input has such a dimension{self._symbols()}")
        return self._finish(ends)

    # --- inputs ---------------------------------------------------------------------------------------------------

    def _make_inputs(self, needed: Collection[str], nodes: Sequence[OnnxNode]) -> None:
        last = _channels_last(nodes)
        unknown: list[str] = []
        for declared in self.model.inputs:
            if declared.name in needed or declared.name in self.cut.starts:
                unknown += self._make_input(declared, last)
        for name in self.cut.starts:  # tensors between; their shape may be known only when they are written
            dims = self.model.declared.get(name)
            if name not in self.work.values and dims is not None:
                unknown += self._make_input(Declared(name, dims=dims), last)
        if unknown:
            told = "\n".join(f"  {text}" for text in unknown)
            raise UsageError(f"extents are missing, --dim NAME=N gives them:\n{told}")

    def _make_input(self, declared: Declared, last: Collection[str]) -> list[str]:
        """Make an input; or the extents that are missing."""
        name, of_floats = declared.name, declared.type in _FLOATS
        if declared.dims is None and of_floats:
            raise UsageError(
                f"input {name!r} has no shape: an operator before it must be read, or --from must be later"
            )
        shape, missing = [], []
        for axis, extent in enumerate(declared.dims or ()):
            found = self._pin(name, axis, extent)
            if found is None:
                missing.append(f"{name}.{axis}" + (f", called {extent}" if isinstance(extent, str) else ""))
            else:
                shape.append(found)
        is_sound = min(shape, default=1) >= 1 and prod(shape) <= MOST_ELEMENTS
        if not of_floats:
            is_known = declared.dims is not None and is_sound and not missing
            self._refuse_input(name, f"it is {declared.type}", "float32", shape if is_known else None)
            return []
        if missing:
            text = "x".join("?" if extent is None else str(extent) for extent in declared.dims or ())
            return [f"--dim {visible(each)} (input {visible(name)} is {visible(text)})" for each in missing]
        if not is_sound:
            self._refuse_input(name, f"it is {show_shape(tuple(shape))}", f"1 to {MOST_ELEMENTS:,} numbers", None)
            return []
        self.types[name] = declared.type
        self.work.values[name] = self.work.add_input(name, shape, last_channels=name in last)
        return []

    def _refuse_input(self, name: str, what: str, accepted: str, shape: Sequence[int] | None) -> None:
        """Put a stand-in for an input; what asks for its shape is not to blame."""
        tensor = self.work.add_input(name, shape or (), last_channels=False)
        draft = self.work.drafts[tensor.name]
        self.work.drafts[tensor.name] = replace(draft, refusal=Refusal("input", name, what, accepted))
        self.work.values[name] = Lost(tensor.name) if shape is None else tensor

    def _pin(self, name: str, axis: int, extent: Extent) -> int | None:
        """The size of one axis, of what the user says first; a batch that the model leaves open is 1."""
        asked = (f"{name}.{axis}", *([extent] if isinstance(extent, str) else []))
        for key in asked:
            if key in self.cut.dims:
                return self.cut.dims[key]
        if isinstance(extent, int) and extent >= 0:
            return extent
        return 1 if axis == 0 else None

    def _names_of_extents(self) -> set[str]:
        """What `--dim` may name: extents of all inputs, of which some may lead nowhere."""
        model = self.model
        starts = [Declared(name, dims=model.declared.get(name)) for name in self.cut.starts]
        axes = [(d.name, axis, e) for d in (*model.inputs, *starts) for axis, e in enumerate(d.dims or ())]
        return {f"{name}.{axis}" for name, axis, _ in axes} | {e for _, _, e in axes if isinstance(e, str)}

    def _symbols(self) -> str:
        symbols = [
            extent if isinstance(extent, str) else f"{declared.name}.{axis}"
            for declared in self.model.inputs
            for axis, extent in enumerate(declared.dims or ())
            if not isinstance(extent, int) and declared.name not in self.model.constants
        ]
        return f"; open are {', '.join(dict.fromkeys(symbols))}" if symbols else ""

    # --- nodes ----------------------------------------------------------------------------------------------------

    def _read(self, node: OnnxNode) -> None:
        """Find out what a node writes."""
        work = self.work
        try:
            written = self._written(node)
        except RefusedError as error:
            if self._shuffle(node):
                self._read(node)
                return
            if self._blame_moves(node, scrambled=not error.soft) and error.soft:
                self._read(node)
                return
            # Not its fault, where what it reads was not read and is arranged as nobody can know.
            blamed = not error.soft or work.is_sound(node)
            written = self._refused(node, error if blamed else None)
        for name, value in zip(node.writes, written, strict=False):
            if not name:
                continue
            if name in self.cut.starts:
                if name in work.values:
                    continue
                value = self._started(name, value)  # noqa: PLW2901
            work.values[name] = value

    def _written(self, node: OnnxNode) -> Sequence[Value]:
        work = self.work
        read = [work.values[name] if name else None for name in node.reads]
        sound = [None if isinstance(v, Tensor) and not work.is_computed(v) else v for v in read]
        complaint = self.model.complaint(node, [shape_of(value) for value in sound])
        if complaint is not None:
            raise RefusedError(*complaint)
        if all(value is None or isinstance(value, Known) for value in read):
            folded = fold(node, [v.array if isinstance(v, Known) else None for v in read], work.opset)
            if folded is not None:
                if any(node.writes[len(folded) :]):
                    raise RefusedError(f"{len(node.writes)} outputs", f"{len(folded)} at most")
                return [Known(array) for array in folded]
        rule = BY_OPERATOR.get(node.operator) or IN_PARTS.get(node.operator)
        if rule is None:
            raise RefusedError("there is no such layer", "what nn512 doc onnx lists")
        rule.check(node)
        found = sampled(node, [work.as_settled(v) if isinstance(v, Tensor) else v for v in read], self.samples)
        whole = recognized(work, node, [sampled for sampled in found if work.is_computed(sampled.base)])
        if whole is not None and not any(node.writes[1:]):
            self._remember([whole], found)
            return [whole]
        written = rule.read(work, node)
        written = [written] if isinstance(written, Known | Tensor | Lost) else list(written)
        if any(node.writes[len(written) :]):
            raise RefusedError(f"{len(node.writes)} outputs", f"{len(written)} at most")
        self._remember(written, found)
        return written

    def _shuffle(self, node: OnnxNode) -> bool:
        """Put channels in order that stand across groups in what a node reads, by a layer; whether there are any."""
        found = False
        for name in dict.fromkeys(filter(None, node.reads)):
            value = self.work.values[name]
            made = shuffled(self.work, name, self.work.as_settled(value)) if isinstance(value, Tensor) else None
            if made is not None:
                self.work.values[name] = made
                found = True
        return found

    def _blame_moves(self, node: OnnxNode, *, scrambled: bool) -> bool:
        """Refuse what moved the axes of a tensor that a node reads; whether there is any.

        Only those that no layer at all could read if `scrambled`, else all.
        """
        found = False
        for name in filter(None, node.reads):
            value = self.work.values[name]
            if isinstance(value, Tensor) and value.moved and value.padding is None and value.name in self.work.shapes:
                if self.work.is_guessed(value):
                    continue
                if scrambled and not view.scrambled(value.dims):
                    continue
                self.work.values[name] = self.work.refuse_moves(name, value)
                found = True
        return found

    def _refused(self, node: OnnxNode, error: RefusedError | None) -> Sequence[Value]:
        work = self.work
        read = [work.values[name] if name else None for name in node.reads]
        found = sampled(node, [work.as_settled(v) if isinstance(v, Tensor) else v for v in read], self.samples)
        written = work.refuse(node, error, [found[0].base.shape] if found else None)
        self._remember(written, found)
        return written

    def _remember(self, written: Sequence[Value], found: Bases) -> None:
        """Keep as what functions of others a new tensor is known."""
        if found and isinstance(written[0], Tensor) and written[0].name not in self.samples:
            found = tuple(replace(s, base=self.work.as_settled(s.base)) for s in found)
            own = tuple(s for s in found if s.base.name != written[0].name and s.base.dims == written[0].dims)
            if own:
                self.samples[written[0].name] = own
                if len(self.samples) > MOST_SAMPLED:  # functions are spelled in nodes that stand together
                    del self.samples[next(iter(self.samples))]

    def _started(self, name: str, value: Value) -> Value:
        """An input of the net in place of what a node writes."""
        shape = value.shape if isinstance(value, Tensor) else None
        if shape is None:
            raise UsageError(f"--from {name}: its shape is unknown")
        return self.work.add_input(name, shape, last_channels=False)

    # --- the end --------------------------------------------------------------------------------------------------

    def _finish(self, ends: Sequence[Declared]) -> Imported:
        work = self.work
        results: list[tuple[str, Tensor]] = []
        for end in ends:
            value = work.values[end.name]
            if isinstance(value, Tensor) and value.padding is not None:
                error = RefusedError("nothing pads behind the last layer", "before Conv or pooling")
                value = work.refuse(value.padding.node, error, [None])[0]
            if isinstance(value, Known):
                self.refused.append(Refusal("output", end.name, "it depends on no input", "what is computed"))
            elif isinstance(value, Lost):
                results.append((end.name, Tensor(value.name, ())))
            else:
                results.append((end.name, self._settled_end(end.name, value)))
        live = _live(work.drafts, [tensor.name for _, tensor in results])
        refusals = self.refused + _told_once(draft for name, draft in work.drafts.items() if name in live)
        if not refusals and any(work.drafts[name].node is None for name in live):
            refusals = [Refusal("model", "", "the shapes behind some node are unknown", "known shapes")]
        if refusals:
            raise UnsupportedError(self.model.origin, refusals)
        if not results:
            raise UsageError(f"{self.model.origin!r} has no outputs")
        return finished(work, self.model, self.cut, live, results, self.types)

    def _settled_end(self, name: str, tensor: Tensor) -> Tensor:
        """An output, its channels in order; a layer that changes nothing stands between it and an input.

        So the language wants it. What stands in an order that no layer gives is refused: nobody could read it.
        """
        work = self.work
        try:
            settled = work.settled(tensor)
        except RefusedError as error:
            self.refused.append(Refusal("output", name, error.what, error.accepted))
            return tensor
        settled = shuffled(work, name, settled) or settled
        if view.scrambled(settled.dims):
            what = "parts of an axis stand in another order than that axis has them"
            self.refused.append(Refusal("output", name, what, "what a Shuffle of channels gives"))
        if not isinstance(work.drafts[settled.name].node, Input):
            return settled
        nothing = OnnxNode("Identity", (), (name,))
        return Tensor(work.emit(nothing, lambda to: Activation(settled.name, to, "ReLU", 1.0)), settled.dims)


def _behind(
    nodes: Sequence[OnnxNode], ends: Collection[str], starts: Collection[str]
) -> tuple[set[str], list[OnnxNode]]:
    """The tensors and nodes that the ends depend on, back to the starts."""
    needed, chosen = set(ends), []
    for node in reversed(nodes):
        if any(name in needed and name not in starts for name in node.writes):
            chosen.append(node)
            needed.update(name for name in node.reads if name)
    return needed, chosen[::-1]


def _live(drafts: Mapping[str, Draft], ends: Iterable[str]) -> set[str]:
    """The layers that lead to an end."""
    live: set[str] = set()
    waiting = list(ends)
    while waiting:
        name = waiting.pop()
        if name not in live:
            live.add(name)
            waiting += drafts[name].reads
    return live


def _told_once(drafts: Iterable[Draft]) -> list[Refusal]:
    """What was refused, every node once, however many tensors it writes and whoever reads them."""
    told: dict[int, Refusal] = {}
    for draft in drafts:
        if draft.refusal is not None:
            told.setdefault(id(draft if draft.fault is None else draft.fault), draft.refusal)
    return list(told.values())


_AXES_STAY = frozenset("Add Sub Mul Div Cast Identity Clip Relu Pad Slice Split Concat Gather".split())
"""Operators in front of the first layer whose results have the axes of what they read."""


def _channels_last(nodes: Sequence[OnnxNode]) -> set[str]:
    """Tensors that reach a transposition from N x H x W x C through what leaves axes where they are."""
    found: set[str] = set()
    for node in reversed(nodes):
        order = node.attributes.get("perm")
        if node.operator == "Transpose" and isinstance(order, tuple) and order in {(0, 3, 1, 2), (0, 2, 1)}:
            found.update(node.reads[:1])
        elif node.operator in _AXES_STAY and not found.isdisjoint(node.writes):
            found.update(node.reads)
    return found
