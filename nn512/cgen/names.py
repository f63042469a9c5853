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

# Identifiers that step functions use themselves, beside the user's pointers to tensors (a test finds missing and stale
# ones), and macros of system headers in small letters.
STEP_WORDS = frozenset(
    """ArenaFloats before bias block bottom c column context count end engine factors first from group input item lanes
    maximum memcpy memset n net nextWeights number origin p pair panel phase piece position products rest row rows
    segments Share share Sizes sizes sources spans t tensor ThreadFloats tile tiles top topRow v w x y""".split()
)
_MACROS = frozenset("errno i386 linux main stderr stdin stdout unix".split())

# Locals of step functions that are numbered.
_NUMBERED = re.compile(r"(add|affine|div|max|min|mul|negative|ordered|slopes|sub)[0-9]+")

# What a member of a struct cannot be called either, in programs in C++ and by macros of <complex.h> and <iso646.h>.
_MEMBER_WORDS = frozenset(
    """I and bitand bitor compl complex concept consteval constinit decltype imaginary noexcept noreturn not or
    requires xor""".split()
)

# Headers define hundreds of macros in capitals, others on every system: BUFSIZ, SIGINT, WNOHANG.
_MACRO = re.compile(r"[A-Z][A-Z0-9]+")

# Functions and macros of the emitted file that a prefix and a tensor could spell, such as `Config Prefix=team`,
# `ToTensor=run` (a test finds missing and stale ones).
SHARED = frozenset(
    """IN_REGISTER LONE_NORM PACK_CONV PACK_FOURIER PACK_FULL PACK_GROUPED PACK_LANES PACK_NORM PACK_PAIRS
    PACK_WINOGRAD bfloat16_of block_extent channel_lanes exp_of expm1_of exponent_of fourier2_complex
    fourier2_real fourier2_results fourier4_complex fourier4_real fourier4_results fourier8_complex
    fourier8_real fourier8_results fourier8x8_inputs fourier8x8_results6x6 fourier_factors gate_await
    gate_create gate_destroy gate_set gather_block gelu_of half_exponent half_of inverse_power is_real
    join_pieces lane_sums layer_norm load_block load_halves load_narrow log_of lrn4_power mish_of pack_conv
    pack_fourier pack_full pack_grouped pack_lanes pack_norm pack_pairs pack_winograd pair_columns pair_of
    part_butterfly phases_of pick_lanes place_of prefetch_lines quarter_butterfly rms_norm round_row run_alone
    run_shared sigmoid_of silu_of softmax_pixel softplus_of store_block tanh_of team_check team_create
    team_destroy team_dismiss team_run team_share team_work widen_range winograd_factors""".split()
)

_SYSTEM_PREFIX = re.compile(r"^(pthread|posix|sched|clock|va|mm|sem|time|size|ptrdiff|mmap|sig)_")


def local(tensor: str) -> str:
    """Name of the local pointer to a tensor."""
    patterns = _NUMBERED.fullmatch(tensor) or _MACRO.fullmatch(tensor)
    return f"{tensor}_" if tensor in KEYWORDS | STEP_WORDS | _MACROS or patterns else tensor


def member(tensor: str) -> str:
    """Name of a tensor in the struct of a net's tensors, which programs include."""
    taken = KEYWORDS | _MACROS | _MEMBER_WORDS
    return f"{tensor}_" if tensor in taken or _MACRO.fullmatch(tensor) else tensor


def floats(prefix: str, tensor: str) -> str:
    """Name of the constant that holds how many floats a tensor of the caller has."""
    return f"{prefix}_{tensor}_floats"


def offset(tensor: str) -> str:
    """Name of the constant that holds a tensor's place in the arena."""
    return f"{tensor}_at"


def static(prefix: str, name: str) -> str:
    """Name of a file-local function or type that belongs to this net."""
    joined = f"{prefix}_{name}"
    taken = joined in SHARED or name == "at" or _SYSTEM_PREFIX.match(joined)
    return f"{joined}_" if taken else joined
