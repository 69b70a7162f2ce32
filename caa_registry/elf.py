"""The slot in which a loaded library keeps the address of another's function: found by its ELF tables, rewritten."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Mapping
from pathlib import Path

# By machine, the types of the two relocations whose entry holds a function's address: GLOB_DAT and JUMP_SLOT.
RELOCATIONS = {"x86_64": (6, 7), "aarch64": (1025, 1026)}
# Tags of an ELF file's dynamic section: tables of relocations with their sizes, names, symbols.
_PLTRELSZ, _STRTAB, _SYMTAB, _RELA, _RELASZ, _JMPREL = 2, 5, 6, 7, 8, 23
_RELOCATION = struct.Struct("<QQq")
_SYMBOL_SIZE = 24


class _LinkMap(ctypes.Structure):
    """The beginning of glibc's ``struct link_map``, which a handle of ``dlopen`` points at."""

    _fields_ = (("base", ctypes.c_uint64), ("name", ctypes.c_char_p), ("dynamic", ctypes.c_uint64))


def slot_of(library: ctypes.CDLL, function: str) -> int | None:
    """The address of the entry through which ``library`` calls ``function``; ``None`` where there is none."""
    linked = _LinkMap.from_address(library._handle)
    offset = find_slot(dynamic_section(linked.dynamic), platform.machine(), function)
    return None if offset is None else int(linked.base) + offset


def dynamic_section(address: int) -> dict[int, int]:
    """The dynamic section of a loaded ELF file: tag to value. glibc has made addresses of the offsets in it."""
    section: dict[int, int] = {}
    while True:
        tag, value = struct.unpack("<qQ", ctypes.string_at(address, 16))
        if tag == 0:
            return section
        section[tag] = value
        address += 16


def find_slot(dynamic: Mapping[int, int], machine: str, function: str) -> int | None:
    """Where a loaded file keeps the address of a ``function``, as an offset from its base; ``None`` where it does not
    call it, or on a ``machine`` whose relocations are not known here."""
    types = RELOCATIONS.get(machine, ())
    for table, size in ((_JMPREL, _PLTRELSZ), (_RELA, _RELASZ)):
        if table not in dynamic or size not in dynamic:
            continue
        entries = _RELOCATION.iter_unpack(ctypes.string_at(dynamic[table], dynamic[size]))
        for offset, info, _ in entries:
            symbol, kind = info >> 32, info & 0xFFFFFFFF
            if kind in types and _name_of(dynamic, symbol) == function.encode():
                return int(offset)
    return None


def _name_of(dynamic: Mapping[int, int], symbol: int) -> bytes:
    (name,) = struct.unpack("<I", ctypes.string_at(dynamic[_SYMTAB] + _SYMBOL_SIZE * symbol, 4))
    return ctypes.string_at(dynamic[_STRTAB] + name)


def write_slot(slot: int, address: int) -> None:
    """Write an address, also where the linker has made the page read-only. Raises ``OSError``."""
    if _writable(slot):
        ctypes.c_uint64.from_address(slot).value = address
        return
    page = os.sysconf("SC_PAGESIZE")
    start = ctypes.c_void_p(slot - slot % page)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    read, read_write = 1, 3
    if protect(start, ctypes.c_size_t(page), read_write) != 0:
        raise OSError(f"MLX's slot cannot be written: {os.strerror(ctypes.get_errno())}")
    ctypes.c_uint64.from_address(slot).value = address
    protect(start, ctypes.c_size_t(page), read)


def _writable(address: int) -> bool:
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        where, permissions = line.split()[:2]
        first, last = (int(end, 16) for end in where.split("-"))
        if first <= address < last:
            return "w" in permissions
    return False
