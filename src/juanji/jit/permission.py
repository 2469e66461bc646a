"""Leave from the system to use registers that it does not keep for every process."""

import ctypes
import sys

ARCH_PRCTL, REQUEST, TILES = 158, 0x1023, 18  # of Linux on x86-64: the call, ARCH_REQ_XCOMP_PERM, the state of the tiles


def tiles() -> bool:
    """Whether the threads of this process may use the matrix unit of an x86-64 processor, which it asks for.

    Leave holds for the process and for children that it forks, but not for another program that takes their place.
    """
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    return bool(ctypes.CDLL(None, use_errno=True).syscall(ARCH_PRCTL, REQUEST, TILES) == 0)
