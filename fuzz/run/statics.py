"""Static data that a net can write, found in the symbols of its program: engines that run at once would share it.

No run may show it: scratch memory that only large images need, a table that is filled at the first call.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fuzz.run.build import UNIT, Executable
from fuzz.run.outcome import Kind, Violation

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")

_ELF_64_LITTLE = b"\x7fELF\x02\x01"
_CAN_BE_WRITTEN = 1
_SYMBOLS, _DYNAMIC_SYMBOLS = 2, 11
_OBJECT, _FILE, _THREAD_LOCAL = 1, 4, 6
_READ_ONLY_ONCE_LOADED = ".data.rel.ro"


def static_data(executable: Executable) -> list[Violation]:
    """One violation that names all such variables of the net; none where programs have no symbols that tell."""
    if executable.runner.sanitizers:  # they add tables of their own
        return []
    names = writable_data(executable.path.read_bytes(), UNIT)
    if not names:
        return []
    return [Violation(Kind.STATIC_DATA, f"the net has static data that can be written: {', '.join(names)}", 0)]


def writable_data(program: bytes, unit: str) -> list[str]:
    """The names of a source file's writable variables in a program, and of those that every file sees.

    A program that is linked statically has the C library's among the latter, and nothing tells them apart: it shows the
    file's own alone.
    """
    if not program.startswith(_ELF_64_LITTLE):
        return []
    sections = list(_sections(program))
    is_dynamic = any(section.type == _DYNAMIC_SYMBOLS for section in sections)
    shared = {symbol.name for symbol in _symbols(program, sections, _DYNAMIC_SYMBOLS)}  # the C library's
    found, file = [], ""
    for symbol in _symbols(program, sections, _SYMBOLS):
        if symbol.type == _FILE:
            file = symbol.name
        if symbol.type not in (_OBJECT, _THREAD_LOCAL) or symbol.size == 0 or symbol.section >= len(sections):
            continue
        section = sections[symbol.section]
        if not section.flags & _CAN_BE_WRITTEN or section.name.startswith(_READ_ONLY_ONCE_LOADED):
            continue
        if file == unit if symbol.is_local else is_dynamic and symbol.name.partition("@")[0] not in shared:
            found.append(symbol.name)
    return found


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    type: int
    flags: int
    offset: int
    size: int
    link: int


@dataclass(frozen=True, slots=True)
class _Symbol:
    name: str
    type: int
    is_local: bool
    section: int
    size: int


def _sections(program: bytes) -> Iterator[_Section]:
    """The sections, in the order of their numbers."""
    header = _HEADER.unpack_from(program)
    start, step, count, names = header[6], header[11], header[12], header[13]
    raw = [_SECTION.unpack_from(program, start + step * number) for number in range(count)]
    for name, kind, flags, _, offset, size, link, *_ in raw:
        yield _Section(_text(program, raw[names][4] + name), kind, flags, offset, size, link)


def _symbols(program: bytes, sections: list[_Section], kind: int) -> Iterator[_Symbol]:
    """The symbols of the tables of one kind; those of a file follow the symbol that is the file."""
    for table in sections:
        if table.type != kind:
            continue
        names = sections[table.link].offset
        for name, info, _, section, _, size in _SYMBOL.iter_unpack(program[table.offset : table.offset + table.size]):
            yield _Symbol(_text(program, names + name), info & 15, info >> 4 == 0, section, size)


def _text(program: bytes, at: int) -> str:
    return program[at : program.index(b"\0", at)].decode("utf-8", "replace")
