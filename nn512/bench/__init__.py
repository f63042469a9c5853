"""How fast the emitted code is: beside other systems, beside the processor's limit, layer by layer.

    measuring.py    builds and starts everything, has agreement shown, lets all systems take turns
    systems.py      the systems that take turns: the emitted code, the peers, a loop of nothing but FMAs
    native.py       building the C programs of programs/; peer.py, the program that runs a peer
    worker.py       a measured program: asked line by line, frozen while others run
    agreement.py    whether all compute the same, asked before anything is timed
    layers.py       time of every layer, beside what the cost model predicted
    spread.py       medians and quartiles; machine.py, the processor and its name
    report.py       the result as text and as JSON
    scaling.py      a program of its own: what compiling takes for the growing nets of families.py
    copies.py       another: layers that do little more than move bytes, beside a copy
    counting.py     work of Python counted instead of timed, for tests of the same

A stored time says nothing: what counts are ratios of systems measured in turns within one run.
"""

from nn512.bench.measuring import Measurement, Request, measure

__all__ = ["Measurement", "Request", "measure"]
