"""How step functions begin: their signature, their context, their pointers to tensors."""

from __future__ import annotations

from nn512.cgen import names
from nn512.cgen.expressions import extent
from nn512.cgen.writer import Writer
from nn512.kernels.interface import Place
from nn512.plan.layout import Layout

# Where the working memory begins that a step's thread has for itself: behind all tensors.
THREAD_MEMORY = "tensor(engine, ArenaFloats + share.thread * ThreadFloats)"


def tensor_pointer(place: Place, name: str, *, written: bool, flat: bool = False) -> str:
    """Declaration of a pointer to a tensor: blocks of [height][width][16] or [pixels][16], planes without the [16]."""
    return f"{'' if written else 'const '}float (*restrict {name}){_extents(place, flat=flat)}"


def tensor_address(place: Place, *, flat: bool = False) -> str:
    """Where a tensor begins, in a step function.

    A caller's is not const void: that is no pointer to an array of const for pedantic compilers.
    """
    if place.caller:
        return f"(const float (*){_extents(place, flat=flat)})engine->{place.caller}"
    return f"tensor(engine, {names.offset(place.name)})"


def _extents(place: Place, *, flat: bool) -> str:
    shape = place.shape
    extents = f"[{extent(shape.height, shape.width)}]" if flat else f"[{shape.height}][{shape.width}]"
    return extents + (f"[{place.layout.lanes}]" if place.layout.lanes > 1 else "")


def declare_tensor(writer: Writer, place: Place, *, written: bool, flat: bool = False) -> None:
    """Write the local pointer to a tensor."""
    pointer = tensor_pointer(place, names.local(place.name), written=written, flat=flat)
    writer.assign(pointer, tensor_address(place, flat=flat))


def write_segments(writer: Writer, layout: Layout) -> None:
    """Write the table of segments of a layout that is not regular; a 0 ends it."""
    writer.comment("segments of channels, each of which begins a new block")
    writer.table("static const ptrdiff_t segments[]", (str(segment) for segment in (*layout.merged, 0)))


def begin_step(writer: Writer, prefix: str) -> None:
    """First line of the body of every inference step: what the context is."""
    writer.line(f"const {prefix}Engine *engine = context;")


def step_signature(prefix: str, name: str, target: str = "") -> str:
    """Signature of a step function, which computes a thread's share of its work.

    `target` is the macro of the instructions that it needs beyond AVX-512F, with a space behind it.
    """
    return f"static NOINLINE {target}void {names.static(prefix, name)}(const void *context, Share share)"
