"""What a driver must know of a net: its prefix, its arguments and the sizes of its parameters."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from nn512.cgen.names import member
from nn512.graph.graph import Graph, argument_name, argument_tensor
from nn512.graph.nodes import Input


@dataclass(frozen=True, slots=True)
class Argument:
    """One parameter of the inference function; `name` is the C name, `tensor` the user's, `shape` its array's."""

    name: str
    tensor: str
    shape: tuple[int, int, int]
    is_input: bool

    @property
    def elements(self) -> int:
        """Number of floats."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Tap:
    """A tensor in the memory of an engine, in floats; layer number `layer`, counted from 0, writes it."""

    layer: int
    tensor: str
    offset: int
    elements: int


@dataclass(frozen=True, slots=True)
class Region:
    """Memory of an engine, in floats, while layer number `layer`, counted from 0, is computed.

    `is_kept`: it has been written before, and holds something. `is_written`: the layer may write it. What no region
    has is nothing to the layer.
    """

    name: str
    layer: int
    is_kept: bool
    is_written: bool
    offset: int
    elements: int


@dataclass(frozen=True, slots=True)
class Interface:
    """The C API of one net. Arguments and parameters stand in the order of the C code, bytewise by name."""

    prefix: str
    arguments: tuple[Argument, ...]
    parameters: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, graph: Graph) -> Interface:
        """The interface that any correct translation of `graph` has."""
        arguments = []
        for node in graph.arguments:
            tensor = argument_tensor(node)
            shape = node.array_shape if isinstance(node, Input) else graph.shapes[tensor]
            arguments.append(Argument(argument_name(node), tensor, shape, isinstance(node, Input)))
        return cls(graph.config.prefix, tuple(arguments), tuple((p.name, p.shape) for p in graph.parameters))

    @property
    def inputs(self) -> tuple[Argument, ...]:
        """Arguments the net reads."""
        return tuple(a for a in self.arguments if a.is_input)

    @property
    def outputs(self) -> tuple[Argument, ...]:
        """Arguments the net writes."""
        return tuple(a for a in self.arguments if not a.is_input)

    @property
    def parameter_elements(self) -> int:
        """Floats in the Params struct."""
        total = 0
        for _, shape in self.parameters:
            elements = 1
            for extent in shape:
                elements *= extent
            total += elements
        return total

    def is_included(self, source: str) -> bool:
        """Whether a source includes the net's header itself."""
        include = rf'^[ \t]*#[ \t]*include[ \t]*[<"]{re.escape(self.prefix)}\.h[>"]'
        return re.search(include, source, re.MULTILINE) is not None

    def shim(
        self,
        source_name: str,
        *,
        include_header: bool,
        runs: bool = False,
        taps: Sequence[Tap] = (),
        regions: Sequence[Region] = (),
    ) -> str:
        """C text that includes the net's source and defines `nn512_driver_net` (nn512_driver.h) for it.

        The source is included rather than linked: one run of the compiler instead of two, and the arguments of every
        call are checked against the header. `include_header`: for a source that does not include its own header.
        `runs`: there is EngineRun, too. With
        `taps` the net shows its own tensors to the driver, with `regions` its memory between layers; only what our
        compiler emits can.
        """
        p = self.prefix
        table = ",\n".join(
            f"    {{{json.dumps(a.name)}, (size_t){a.elements}u, {int(a.is_input)}}}" for a in self.arguments
        )
        call = "".join(f", shim_data[{i}]" for i in range(len(self.arguments)))
        header = f'#include "{p}.h"\n' if include_header else ""
        tapping = "#define NN512_TAP\n" if taps or regions else ""
        tapped = ", ".join(f"{{{tap.layer}, (size_t){tap.offset}u, (size_t){tap.elements}u}}" for tap in taps)
        memory = ",\n".join(
            f"    {{{json.dumps(r.name)}, {r.layer}, {int(r.is_kept)}, {int(r.is_written)}, (size_t){r.offset}u, "
            f"(size_t){r.elements}u}}"
            for r in regions
        )
        end = max((region.offset + region.elements for region in regions), default=0)
        return f"""{tapping}#include "{source_name}"
{header}#include "nn512_driver.h"
{self._sizes()}
static const struct driver_argument nn512_shim_arguments[] = {{
{table}}};

static const struct driver_tap nn512_shim_taps[] = {{{tapped or "{-1, 0, 0}"}}};

static const struct driver_region nn512_shim_regions[] = {{
{memory or '    {"", -1, 0, 0, 0, 0}'}}};

static char *nn512_shim_net_create(void **shim_net, void *shim_params, ptrdiff_t shim_threads) {{
    {p}Net *shim_made = ({p}Net *)*shim_net;
    char *shim_message = {p}NetCreate(&shim_made, ({p}Params *)shim_params, shim_threads);
    *shim_net = shim_made;
    return shim_message;
}}

static void nn512_shim_net_destroy(void *shim_net) {{
    {p}NetDestroy(({p}Net *)shim_net);
}}

static char *nn512_shim_engine_create(void **shim_engine, void *shim_net, ptrdiff_t shim_threads) {{
    {p}Engine *shim_made = ({p}Engine *)*shim_engine;
    char *shim_message = {p}EngineCreate(&shim_made, ({p}Net *)shim_net, shim_threads);
    *shim_engine = shim_made;
    return shim_message;
}}

static char *nn512_shim_engine_pthread(void *shim_engine, ptrdiff_t shim_index, pthread_t *shim_to) {{
    return {p}EnginePthreadT(({p}Engine *)shim_engine, shim_index, shim_to);
}}

static void nn512_shim_inference(void *shim_engine, float *const *shim_data) {{
    {p}EngineInference(({p}Engine *)shim_engine{call});
}}

{self._shim_run() if runs else ""}
static void nn512_shim_engine_destroy(void *shim_engine) {{
    {p}EngineDestroy(({p}Engine *)shim_engine);
}}

const struct driver_net nn512_driver_net = {{
    {json.dumps(p)}, (size_t){4 * self.parameter_elements}u, sizeof(struct {p}Params),
    sizeof nn512_shim_arguments / sizeof *nn512_shim_arguments, nn512_shim_arguments,
    (size_t){len(taps)}u, nn512_shim_taps, (size_t){len(regions)}u, nn512_shim_regions, (size_t){end}u,
    nn512_shim_net_create, nn512_shim_net_destroy, nn512_shim_engine_create,
    nn512_shim_engine_pthread, nn512_shim_inference, {"nn512_shim_run" if runs else "NULL"},
    nn512_shim_engine_destroy}};
"""

    def _sizes(self) -> str:
        """C text that does not compile where the header has names for sizes of tensors that are not theirs."""
        names = [(f"{self.prefix}_{member(a.tensor)}_floats", a.elements) for a in self.arguments]
        return "".join(
            f'#if defined {name} && {name} != {elements}\n#error "{name} is not {elements}"\n#endif\n'
            for name, elements in names
        )

    def _shim_run(self) -> str:
        """C text that hands tensors over by name."""
        p = self.prefix
        members = ", ".join(f".{member(a.tensor)} = shim_data[{i}]" for i, a in enumerate(self.arguments))
        return f"""
static char *nn512_shim_run(void *shim_engine, float *const *shim_data) {{
    const struct {p}Tensors shim_tensors = {{{members}}};
    return {p}EngineRun(({p}Engine *)shim_engine, &shim_tensors);
}}
"""
