"""HDF5 weights of Keras (the extra "h5"), read in a process of their own.

The HDF5 library parses a file's structure in C, and a damaged one can make it loop, crash or ask for all the memory there is. So a
child process reads the file (`keras_layouts`), under limits of time and memory, and writes what it finds as safetensors, which is
read here without trusting it either. That costs the start of a Python.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from juanji.errors import FileError, FormatError
from juanji.nn.formats import safetensors_files
from juanji.nn.formats.keras_layouts import REFUSED
from juanji.nn.formats.mapped import MappedFile, Weights

CHILD = "import sys; from juanji.nn.formats.keras_layouts import convert; sys.exit(convert(sys.argv[1], sys.argv[2], int(sys.argv[3])))"
SECONDS, RATE = 5, 2**24  # of processor time: to start and to read the structure; bytes in each further one


def is_hdf5(file: MappedFile) -> bool:
    """Whether a file begins as HDF5 files do."""
    return file.map[:8] == b"\x89HDF\r\n\x1a\n"


def read(path: str | os.PathLike[str]) -> Weights:
    """The weights of a Keras file by name, and the texts at its root, such as "keras_version" and "model_config".

    Names are those that Keras wrote: "block1_conv1/kernel:0" in the old layout, "layers/conv2d/vars/0" in the new one, where metadata
    hold the name of each layer under "layers/conv2d/vars.name". In the old layout the optimiser's state is left out.

    Raises FileError for a file that cannot be read and where h5py is missing, FormatError for one that is damaged, not of Keras,
    larger than its bytes can mean or reaching out of itself.
    """
    file = MappedFile(path)
    if importlib.util.find_spec("h5py") is None:
        raise FileError(f"{path}: reading HDF5 needs h5py: pip install 'juanji[h5]'")
    with tempfile.TemporaryDirectory(prefix="juanji-h5-") as folder:
        out = Path(folder, "weights")
        seconds, whole = SECONDS + file.size // RATE, os.path.abspath(path)
        # -P: nothing is imported from the folder that the user happens to be in unless this process would, too.
        command = [sys.executable, "-P", "-c", CHILD, whole, str(out), str(seconds)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUTF8": "1"}
        child = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace")
        if child.returncode == REFUSED:
            raise FormatError(f"{path}: {child.stdout.strip()}")
        if child.returncode:
            said = (child.stderr.strip().splitlines() or [f"ended with status {child.returncode}"])[-1]
            raise file.error("HDF5", f"its library crashed on it or took more than {seconds} s: it is damaged ({said[:200]})")
        return safetensors_files.read(out)  # mapped: it stays readable when the folder is gone
