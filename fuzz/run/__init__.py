"""How emitted C is run: built into a driver program, and executed where nothing it does can hurt the tester.

interface.py      what a driver must know of a net
build.py          driver programs out of a header and a source, whoever emitted them
runners/          ways to execute them: native, sde, soft, bochs, aarch64
emulator/         the machine that bochs runs them in
checks.py         what a run checks, and its bounds
demands.py        what is demanded of C beside values, by name, and how parts of it are waived
driver/           the driver in C; it watches everything besides values
protocol.py       the bytes that it and the tester exchange
process.py        a program run to its end, wherever
sandbox.py        what a driver is told, and its bounds of time and memory
lines.py          which lines of the source a program executes, as gcov counts them
statics.py        static data that a net can write, in the symbols of its program
standalone.py     a net inferred once by the driver that users get
ended.py          how a driver ended, wherever it ran
outcome.py        what a run showed
"""
