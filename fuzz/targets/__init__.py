"""What can be put under test: anything that turns a graph into C with the API, or that answers for it by itself.

    base.py      the protocol: Target, and the Sources or Answers that it gives
    ours.py      our compiler
    folder.py    C that somebody has written or generated before, in a folder
    command.py   a command that generates C
    peers.py     other systems, each in a program of its own (systems.py, and onnx_in_torch.py for PyTorch)
    registry.py  all of them by name, and those that other packages add
    mutants.py   sources with a planted bug, to see that it is found
    operators.py the bugs that are planted, each a pattern and what to put in its place
    text.py      what is code in a source, and where statements begin

Another target is a class with a `name`, with `strict`, and with `prepare(graph, options)`, handed to
`fuzz.judge.checker.check_case`. It may call any other program: what is judged are the sources it comes back with.
"""

from fuzz.targets.base import Sources, Target
from fuzz.targets.folder import Folder
from fuzz.targets.ours import OURS

__all__ = ["OURS", "Folder", "Sources", "Target"]
