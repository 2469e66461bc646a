"""Files appear whole or not at all."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from juanji.atomic import atomic_write, remove_parts
from juanji.errors import FileError


def test_a_new_file_and_a_replaced_one(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    for content in (b"first", b"second, which is longer"):
        with atomic_write(path) as file:
            file.write(content)
            assert not path.exists() or path.read_bytes() != content
        assert path.read_bytes() == content
        assert os.listdir(tmp_path) == ["weights"]


def test_an_exception_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"old")

    def fail() -> None:
        with atomic_write(path) as file:
            file.write(b"new")
            raise KeyError("inside")

    with pytest.raises(KeyError):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["weights"]


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    with atomic_write(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is a folder"), atomic_write(tmp_path):
        pass
    with pytest.raises(FileError, match="does not exist; make it first"), atomic_write(tmp_path / "no" / "weights"):
        pass


FULL = """
import resource, signal, sys
from juanji.errors import FileError
from juanji.atomic import atomic_write
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with atomic_write(sys.argv[1]) as file:
        file.write(bytes(200_000))
except FileError as error:
    print(error)
"""


def test_no_room_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the write fails in the middle."""
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    said = subprocess.run([sys.executable, "-c", FULL, path], check=True, capture_output=True, text=True).stdout
    assert said.startswith(f"{path}: could not be written (")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["weights"]


KILLED = """
import sys
from juanji.atomic import atomic_write
number = 0
while True:
    number += 1
    with atomic_write(sys.argv[1]) as file:
        for _ in range(100):
            file.write(bytes([number % 256]) * 10_000)
    print(number, flush=True)
"""


def test_a_kill_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    parts = 0
    for trial in range(6):
        writer = subprocess.Popen([sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()  # it writes
        time.sleep(0.013 * trial)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        content = path.read_bytes()
        assert content == content[:1] * 1_000_000
        parts = max(parts, len(os.listdir(tmp_path)) - 1)
        remove_parts(path)
        assert os.listdir(tmp_path) == ["weights"]
    assert parts <= 1


def test_only_parts_of_this_file_are_removed(tmp_path: Path) -> None:
    for name in ("a[1]", ".a[1].0123abcd.part", ".a1.0123abcd.part", ".a[1].xyz.part"):
        (tmp_path / name).touch()
    remove_parts(tmp_path / "a[1]")
    assert sorted(os.listdir(tmp_path)) == [".a1.0123abcd.part", ".a[1].xyz.part", "a[1]"]
