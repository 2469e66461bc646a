"""What untrusted files do to a reader: valid ones with bytes changed, cut out or put in, read under a watch on memory."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from juanji.errors import FormatError


@st.composite
def damages(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file with one to four places changed: bytes overwritten, removed, inserted or repeated, or the end cut off."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        end = min(len(data), place + draw(st.integers(1, 16)))
        match draw(st.sampled_from(["write", "flip", "cut", "insert", "end", "repeat"])):
            case "write":
                data[place:end] = draw(st.binary(min_size=end - place, max_size=end - place))
            case "flip":
                if place < len(data):
                    data[place] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[place:end]
            case "insert":
                data[place:place] = draw(st.binary(min_size=1, max_size=16))
            case "end":
                del data[place:]
            case "repeat":
                data[place:place] = data[place:end]
    return bytes(data)


def check_read(read: Callable[[Path], Any], path: Path, data: bytes) -> None:
    """It is read or refused in one line, and takes no more memory than a file of its size may."""
    path.write_bytes(data)
    refused, arrays = "", {}
    tracemalloc.start()
    try:
        arrays, _ = read(path)
    except FormatError as error:
        refused = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 64 * len(data) + 2**20, f"{peak} bytes for a file of {len(data)}"
    for array in arrays.values():
        assert not array.flags.writeable
        np.count_nonzero(array)  # every element is there to be read
    if refused:
        assert refused.startswith(f"{path}: ")
        assert "\n" not in refused
