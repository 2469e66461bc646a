"""The only user of llvmlite: IR text in, position-independent bytes out.

The object file is always ELF, whatever the host's own format, because nothing but its sections is used: code and
constants are laid out in one block and their distances patched in (`_link`). The block needs no loader, calls nothing
outside itself and runs wherever it is mapped, so that another process can take it from disk without LLVM.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any, NamedTuple

from juanji.errors import CompileError
from juanji.jit.target import Target

PAGE = 4096


def host() -> tuple[str, str, str]:
    """What LLVM calls this machine: triple (with ELF objects), CPU name and features that the system lets us use."""
    llvm = _llvm()
    triple = llvm.get_process_triple().split("-")
    elf = "-elf" if triple[2].startswith("windows") else ""
    name = "-".join(triple) + elf if triple[2].startswith(("linux", "windows")) else f"{triple[0]}-unknown-linux-gnu"
    return name, llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def version() -> str:
    """The version of LLVM behind llvmlite."""
    return ".".join(map(str, _llvm().llvm_version_info))


def assembly(text: str, target: Target) -> str:
    """What the code generator makes of the IR, to be read by people and tests."""
    module, machine = _optimised(text, target)
    return str(machine.emit_assembly(module))


def compile_ir(text: str, target: Target) -> bytes:
    """The linked code of a module whose function `kernel` stands at offset 0. Raises CompileError with LLVM's words."""
    module, machine = _optimised(text, target)
    return _link(machine.emit_object(module))


@lru_cache(maxsize=1)
def _llvm() -> Any:
    from llvmlite import binding

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    return binding


@lru_cache(maxsize=8)
def _target_machine(target: Target) -> Any:
    llvm = _llvm()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small"
    )


def _optimised(text: str, target: Target) -> tuple[Any, Any]:
    llvm, machine = _llvm(), _target_machine(target)
    try:
        module = llvm.parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        raise CompileError(f"generated IR is not valid: {error}") from None
    # Slots into registers, dead blocks away, addresses folded: loops and vectors are explicit already, and the standard
    # pipelines take five times as long for the same inner loops.
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1)))
    return module, machine


class _Section(NamedTuple):
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


_RELA, _PROGBITS, _ALLOCATED = 4, 1, 2
_X86_64, _AARCH64 = 62, 183


def _link(elf: bytes) -> bytes:
    """Code and constants of a relocatable ELF file in one block, `kernel` first. Refuses what would need a loader."""
    machine = struct.unpack_from("<H", elf, 18)[0]
    sections = _sections(elf)
    symbols = _symbols(elf, sections)
    kernel = next((s for s in symbols if s[0] == "kernel"), None)
    if kernel is None or kernel[2] != 0:
        raise CompileError("the module must begin with the function `kernel`")
    placed: dict[int, int] = {}
    block = bytearray()
    order = [kernel[1], *(i for i in range(len(sections)) if i != kernel[1])]
    for index in order:
        section = sections[index]
        if section.kind == _PROGBITS and section.flags & _ALLOCATED and section.size:
            block += bytes(-len(block) % max(section.align, 16))
            placed[index] = len(block)
            block += elf[section.offset : section.offset + section.size]
    for section in sections:
        if section.kind != _RELA or section.info not in placed:
            continue
        for at in range(section.offset, section.offset + section.size, 24):
            offset, info, addend = struct.unpack_from("<QQq", elf, at)
            name, home, value = symbols[info >> 32]
            if home not in placed:
                raise CompileError(f"generated code wants `{name}` from outside")
            place = placed[section.info] + offset
            _patch(block, machine, info & 0xFFFFFFFF, place, placed[home] + value + addend)
    return bytes(block)


def _sections(elf: bytes) -> list[_Section]:
    start, (size, count) = struct.unpack_from("<Q", elf, 40)[0], struct.unpack_from("<HH", elf, 58)
    found = []
    for i in range(count):
        _, kind, flags, _, offset, length, link, info, align, _ = struct.unpack_from("<IIQQQQIIQQ", elf, start + i * size)
        found.append(_Section(kind, flags, offset, length, link, info, align))
    return found


def _symbols(elf: bytes, sections: list[_Section]) -> list[tuple[str, int, int]]:
    """(name, section, offset in it) of every symbol."""
    table = next(s for s in sections if s.kind == 2)
    names = sections[table.link].offset
    found = []
    for at in range(table.offset, table.offset + table.size, 24):
        name, _, _, home, value, _ = struct.unpack_from("<IBBHQQ", elf, at)
        begin = names + name
        found.append((elf[begin : elf.index(b"\0", begin)].decode(), home, value))
    return found


def _patch(block: bytearray, machine: int, kind: int, place: int, goal: int) -> None:
    """Write one distance. The block is mapped at a page's start, so that distances in pages are known as well."""
    distance = goal - place
    if machine == _X86_64 and kind in (2, 4):  # PC32, PLT32
        struct.pack_into("<i", block, place, distance)
        return
    if machine == _X86_64 and kind == 24:  # PC64
        struct.pack_into("<q", block, place, distance)
        return
    if machine == _AARCH64:
        if kind == 261:  # PREL32, from tables beside the code
            struct.pack_into("<i", block, place, distance)
            return
        word = struct.unpack_from("<I", block, place)[0]
        low = goal % PAGE
        match kind:
            case 275:  # ADR_PREL_PG_HI21
                pages = goal // PAGE - place // PAGE
                word |= (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
            case 277:  # ADD_ABS_LO12_NC
                word |= low << 10
            case 278 | 284 | 285 | 286 | 299:  # LDST8, 16, 32, 64, 128_ABS_LO12_NC
                shift = {278: 0, 284: 1, 285: 2, 286: 3, 299: 4}[kind]
                word |= low >> shift << 10
            case 282 | 283:  # JUMP26, CALL26
                word |= distance >> 2 & 0x3FFFFFF
            case _:
                raise CompileError(f"relocation {kind} is unknown")
        struct.pack_into("<I", block, place, word)
        return
    raise CompileError(f"relocation {kind} of ELF machine {machine} is unknown")
