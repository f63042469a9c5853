"""`python -m fuzz.campaign.portable`: cases with the processor's AVX-512 and with the portable intrinsics: equal bits.

What the portable header shows where there is no AVX-512 is then what the processor would show.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from fuzz.campaign.comparing import Comparison, command, compare
from fuzz.campaign.matrix import Variant, check_variants
from fuzz.run.runners import choose_runner

# The portable header takes long where nothing is optimized, and gcc long where much is.
_FLAGS = ("-O1",)


def main(arguments: Sequence[str] | None = None, stream: TextIO = sys.stdout) -> int:
    """Compare, and return an exit code as the command line's."""

    def run(what: Comparison) -> int:
        ways = tuple(Variant(choose_runner(name), _FLAGS) for name in ("native", "soft"))
        stream.writelines(f"{way.runner.line}\n" for way in ways)
        stream.flush()
        return compare(lambda case: check_variants(case, ways), what, stream)

    return command(arguments, "fuzz.campaign.portable", __doc__ or "", 1000, run)


if __name__ == "__main__":
    sys.exit(main())
