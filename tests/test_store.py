"""Compiled code on disk: trusted only if it is whole and ours, replaced otherwise; what a second process finds."""

import os
import shutil
import stat
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from compiled import SOURCE, python, run_python
from juanji.jit import load, store
from juanji.jit.target import Target

CONTENT = bytes(range(256)) * 40
KEY = "0123456789abcdef" * 4

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX")


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "a" / "cache"
    monkeypatch.setenv("JUANJI_CACHE_DIR", str(path))
    return path


@pytest.fixture(name="file")
def _file(folder: Path) -> Path:
    """A file of the store that is in order."""
    store.write(KEY, CONTENT)
    (path,) = folder.iterdir()
    assert store.read(KEY) == CONTENT
    return path


def modes(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_written_is_read(folder: Path) -> None:
    assert store.folder() == folder
    assert store.size() == (0, 0)
    assert store.read(KEY) is None
    assert not folder.exists()
    store.write(KEY, CONTENT)
    store.write(KEY[::-1], b"")
    assert store.read(KEY) == CONTENT
    assert store.read(KEY[::-1]) == b""
    count, size = store.size()
    assert (count, size) == (2, sum(path.stat().st_size for path in folder.iterdir()))


def test_kinds_are_apart(file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(KEY, b"figures", "tuned")
    os.utime(folder / f"{KEY}.tuned", (0, 0))
    assert (store.read(KEY), store.read(KEY, "tuned"), store.read(KEY, "other")) == (CONTENT, b"figures", None)
    monkeypatch.setattr(store, "MOST_FILES", 1)
    monkeypatch.setattr(store, "SWEEP", 1)
    store.write(KEY[::-1], b"")  # code is pruned, and the oldest file is none
    assert store.read(KEY, "tuned") == b"figures"
    store.remove("tuned")
    assert store.read(KEY, "tuned") is None
    assert store.read(KEY) == CONTENT
    folder.chmod(0o777)
    store.remove("code")  # not ours alone, so not touched
    folder.chmod(0o700)
    assert file.exists()


def test_nobody_else_can_write_or_read(file: Path) -> None:
    assert modes(file.parent) == 0o700
    assert modes(file) == 0o600


def test_files_appear_complete_and_nothing_else_remains(file: Path) -> None:
    before = file.stat().st_ino
    store.write(KEY, CONTENT[::-1])
    assert store.read(KEY) == CONTENT[::-1]
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.stat().st_ino != before  # another file under the name: whoever had the old one open keeps it whole


def test_every_damaged_byte_is_noticed(file: Path) -> None:
    whole = file.read_bytes()
    for place in {*range(64), len(whole) // 2, len(whole) - 1}:
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        file.write_bytes(damaged)
        assert store.read(KEY) is None, place
    file.write_bytes(whole)
    assert store.read(KEY) == CONTENT


@pytest.mark.parametrize("length", [0, 1, 8, 9, 40, 41, 1000, -1])
def test_truncated(file: Path, length: int) -> None:
    file.write_bytes(file.read_bytes()[:length])
    assert store.read(KEY) is None
    store.write(KEY, CONTENT)
    assert store.read(KEY) == CONTENT


def test_longer_than_written(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"\0")
    assert store.read(KEY) is None


def test_content_of_another_key(file: Path) -> None:
    other = KEY[::-1]
    shutil.copy(file, file.with_name(file.name.replace(KEY, other)))
    assert store.read(other) is None
    assert store.read(KEY) == CONTENT


def test_oversized(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.truncate(store.MOST_BYTES + 1)
    assert store.read(KEY) is None


@pytest.mark.parametrize("mode", [0o660, 0o606, 0o666, 0o622])
def test_a_file_that_others_may_write(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert store.read(KEY) is None
    store.write(KEY, CONTENT)
    assert modes(file) == 0o600
    assert store.read(KEY) == CONTENT


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_folder_that_others_may_write(file: Path, mode: int) -> None:
    file.parent.chmod(mode)
    assert store.read(KEY) is None
    file.unlink()
    store.write(KEY, CONTENT)
    assert list(file.parent.iterdir()) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")
def test_owned_by_somebody_else(file: Path) -> None:
    os.chown(file, 12345, 12345)
    assert store.read(KEY) is None
    store.write(KEY, CONTENT)
    assert store.read(KEY) == CONTENT
    os.chown(file.parent, 12345, 12345)
    assert store.read(KEY) is None
    before = file.stat()
    store.write(KEY, b"")
    assert file.stat().st_mtime_ns == before.st_mtime_ns


def test_links_are_not_followed(file: Path, tmp_path: Path) -> None:
    aside = tmp_path / "aside"
    file.rename(aside)
    file.symlink_to(aside)
    assert store.read(KEY) is None
    store.write(KEY, CONTENT)
    assert store.read(KEY) == CONTENT
    assert not file.is_symlink()
    assert aside.exists()


def test_things_that_are_no_files(file: Path) -> None:
    file.unlink()
    file.mkdir()
    assert store.read(KEY) is None
    store.write(KEY, CONTENT)  # nothing can be put in its place, which is no error
    assert store.read(KEY) is None
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    file.rmdir()
    os.mkfifo(file, 0o600)
    found: list[bytes | None] = [CONTENT]
    reader = threading.Thread(target=lambda: found.__setitem__(0, store.read(KEY)), daemon=True)
    reader.start()
    reader.join(5)
    if reader.is_alive():  # let it end
        os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK))
        reader.join(5)
        pytest.fail("store.read waits for somebody to write into a pipe that has a kernel's name")
    assert found == [None]


def test_a_folder_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nothing/here"), Path("/dev/null")):
        monkeypatch.setenv("JUANJI_CACHE_DIR", str(path))
        store.write(KEY, CONTENT)
        assert store.read(KEY) is None
        assert store.size() == (0, 0)


AS_NOBODY = "import os\nif os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"


def test_a_folder_that_is_read_only() -> None:
    # Root writes everywhere, so that another user is asked; the folder is that user's.
    with tempfile.TemporaryDirectory(prefix="juanji-read-only-") as path:
        os.chmod(path, 0o755)
        folder = Path(path) / "cache"
        folder.mkdir(0o555)
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
        code = f"from juanji.jit import store\n{AS_NOBODY}store.write('k', b'c'); print(store.read('k'), os.listdir({str(folder)!r}))"
        assert run_python(code, JUANJI_CACHE_DIR=str(folder)).strip() == "None []"


def test_many_writers_at_once(folder: Path) -> None:
    contents = [bytes([i]) * (50_000 + i) for i in range(8)]

    def work(content: bytes) -> None:
        for _ in range(20):
            store.write(KEY, content)
            assert store.read(KEY) in contents

    failures: list[BaseException] = []

    def guarded_work(content: bytes) -> None:
        try:
            work(content)
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=guarded_work, args=(content,)) for content in contents]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures
    assert len(list(folder.iterdir())) == 1


# Processes ------------------------------------------------------------------------------------------------------------------

CALL = """
import sys
import numpy as np
import juanji as jj
x = np.arange(63 * 65, dtype=np.float32).reshape(1, 1, 63, 65) % 7
y = jj.conv(x, np.ones((1, 1, 3, 3), np.float32), padding=1)
assert y[0, 0, 5, 5] == x[0, 0, 4:7, 4:7].sum()
a = jj.conv(np.ones((1, 6, 7, 20), np.float32), np.ones((2, 2, 20, 18), np.float32), layout="channels_last")
assert (a == 80).all()
print("llvmlite" in sys.modules)
"""


def test_a_second_process_needs_no_llvm(folder: Path) -> None:
    assert run_python(CALL).strip() == "True"
    count, _ = store.size()
    assert count >= 3  # two kernels and what the machine can do
    assert run_python(CALL).strip() == "False"
    assert store.size()[0] == count
    assert {path.suffix for path in folder.iterdir()} == {".code", ".plan"}


def test_a_process_replaces_what_is_damaged(folder: Path) -> None:
    run_python(CALL)
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    for path, content in whole.items():
        path.write_bytes(content[: len(content) // 2])
    assert run_python(CALL).strip() == "True"
    for path, content in whole.items():  # expectations are those of another machine, now that it was measured again
        assert path.suffix == ".plan" or path.stat().st_size > len(content) // 2
    assert run_python(CALL).strip() == "False"


def test_without_a_folder_everything_works_but_compiles(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        assert run_python(CALL, JUANJI_CACHE_DIR=str(tmp_path / "file")).strip() == "True"


@pytest.mark.parametrize("module", ["jit/emit.py", "jit/space.py", "jit/elements.py"])
def test_another_generator_uses_no_code_of_this_one(folder: Path, tmp_path: Path, module: str) -> None:
    run_python(CALL)
    before = {path.name for path in folder.iterdir()}
    other = tmp_path / "other"
    shutil.copytree(SOURCE / "juanji", other / "juanji", ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "juanji" / module).open("a") as stream:
        stream.write("# another version\n")
    code = f"import sys; sys.path.insert(0, {str(other)!r})\n{CALL}\nassert jj.__file__.startswith({str(other)!r})"
    assert run_python(code).strip() == "True"
    assert len({path.name for path in folder.iterdir()} - before) >= 2


def test_a_record_of_the_machine_by_another_version(folder: Path, tmp_path: Path) -> None:
    # Another version keeps another fact about the machine in the same folder, before this version and after it.
    other = tmp_path / "other"
    shutil.copytree(SOURCE / "juanji", other / "juanji", ignore=shutil.ignore_patterns("__pycache__"))
    text = (other / "juanji" / "machine.py").read_text()
    changed = text.replace("    bandwidth: float\n", "    bandwidth: float\n    shoe_size: float = 43.0\n")
    assert changed != text
    (other / "juanji" / "machine.py").write_text(changed)
    code = f"import sys; sys.path.insert(0, {str(other)!r})\n{CALL}\nfrom juanji import machine; assert machine.probe().shoe_size"
    run_python(code)
    run_python(CALL)
    run_python(code)


@pytest.mark.parametrize("part", ["key", "target", "identity"])
def test_code_is_keyed_by_all_that_it_depends_on(folder: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def read(name: str) -> bytes:
        asked.append(name)
        return b"\xc3"

    monkeypatch.setattr(load, "read", read)
    target = Target("x86_64-unknown-linux-gnu", "x", "+a", 256, 16, False)
    other = Target("x86_64-unknown-linux-gnu", "x", "+a,+b", 256, 16, False)
    load.load(("test", part), lambda key, target: "", target, "identity")
    load._kept.clear()
    changed = {"key": ("test", part, 1), "target": other, "identity": "another"}[part]
    arguments = {"key": ("test", part), "target": target, "identity": "identity"} | {part: changed}
    load.load(arguments["key"], lambda key, target: "", arguments["target"], arguments["identity"])  # type: ignore[arg-type]
    load._kept.clear()
    assert len(set(asked)) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no umask")
def test_the_callers_umask_does_not_matter(folder: Path) -> None:
    ended = python(f"import os; os.umask(0)\n{CALL}")
    assert ended.returncode == 0, ended.stderr
    assert modes(folder) == 0o700
    assert {modes(path) for path in folder.iterdir()} == {0o600}


def test_the_folder_does_not_grow_without_bound(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_FILES", 8)
    monkeypatch.setattr(store, "SWEEP", 1)
    keys = [f"{number:064x}" for number in range(9)]
    for age, key in enumerate(keys):
        store.write(key, CONTENT)
        if age < 8:
            os.utime(folder / f"{key}.code", (1000 + age, 1000 + age))
    assert [store.read(key) is not None for key in keys] == [False] * 2 + [True] * 7
    assert store.size()[0] == 7
