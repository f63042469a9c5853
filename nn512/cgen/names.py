"""The one authority for names in emitted C.

Names that users write hold only letters and digits: anything with an underscore is ours and cannot collide with them;
a user's name stands alone only as a local pointer, a struct field or behind the prefix.
"""

from __future__ import annotations

import re

KEYWORDS = frozenset(
    """auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm typeof
    alignas alignof bool class catch delete explicit export false friend mutable namespace new operator private
    protected public template this throw true try typeid typename using virtual constexpr nullptr""".split()
)

# Identifiers that emitted functions use themselves, and macros of the headers they include.
TAKEN = frozenset(
    """acc ahead aligned at average bias block blocks bottom c cell channels context count counts end engine even exp
    first firsts from i index input inputs item items j k lane lanes largest last left lower mask net o operand origin
    out output outputs p pair panel params piece pieces pixel pixels plane position row rows scale shift source starts
    step sum sums t tap taps team tensor threads tile to top total upper v value w window x y z zero
    at groups height line nextWeights places raw Sizes sizes topRow
    NULL OPERANDS EOF errno stdin stdout stderr unix linux i386 signbit INFINITY NAN UNROLL INLINE NOINLINE main
    malloc free memcpy memset abort snprintf ptrdiff_t size_t run""".split()
)

# Locals that are numbered.
_NUMBERED = re.compile(r"(acc|add|affine|negative|w)[0-9]+")

# Headers define hundreds of macros in capitals, others on every system: BUFSIZ, SIGINT, WNOHANG.
_MACRO = re.compile(r"[A-Z][A-Z0-9]+")

# Functions of the emitted file that a prefix and a tensor could spell, such as `Config Prefix=team`, `ToTensor=run`.
_SHARED = frozenset(
    """exponent_of full_of gate_await gate_create gate_destroy gate_set half_exponent load_block load_halves load_narrow
    pack_conv pack_full pack_grouped pack_norm prefetch_lines run_alone run_shared softmax_pixel store_block team_check
    team_create team_destroy team_dismiss team_run team_share team_work""".split()
)

_SYSTEM_PREFIX = re.compile(r"^(pthread|posix|sched|clock|va|mm|sem|time|size|ptrdiff|mmap|sig)_")


def local(tensor: str) -> str:
    """Name of the local pointer to a tensor."""
    patterns = _NUMBERED.fullmatch(tensor) or _MACRO.fullmatch(tensor)
    return f"{tensor}_" if tensor in KEYWORDS or tensor in TAKEN or patterns else tensor


def offset(tensor: str) -> str:
    """Name of the constant that holds a tensor's place in the arena."""
    return f"{tensor}_at"


def static(prefix: str, name: str) -> str:
    """Name of a file-local function or type that belongs to this net."""
    full = f"{prefix}_{name}"
    taken = full in _SHARED or name == "at" or _SYSTEM_PREFIX.match(full)
    return f"{full}_" if taken else full
