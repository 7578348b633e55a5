"""Tells apart a policy that asks for too much memory and a machine that has too little."""

from __future__ import annotations

from pathlib import Path

STRICT = 2  # vm.overcommit_memory: the system grants no more address space than it can back
_KERNEL = Path("/proc")


def memory_is_short(needed: int, kernel: Path = _KERNEL) -> bool:
    """Return whether the system may refuse a process address space for want of memory.

    Unless it is set to be strict, Linux refuses single requests for more than all of its memory and
    nothing else; a process that fills the memory is killed instead.

    Args:
        needed: address space that a process is entitled to, in bytes.
        kernel: folder of the kernel's files.
    """
    rows = (line.split(":") for line in (kernel / "meminfo").read_text().splitlines())
    sizes = {name: 1024 * int(text.split()[0]) for name, text in rows}
    if int((kernel / "sys/vm/overcommit_memory").read_text()) == STRICT:
        return sizes["CommitLimit"] - sizes["Committed_AS"] < needed
    return sizes["MemTotal"] + sizes["SwapTotal"] < needed
