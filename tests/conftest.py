"""Every test session compiles into a folder of its own, which all its workers share.

Random tests draw the same examples in every default run, so that a commit that passed once passes again; the slow ones, which have their
own command, draw anew, and so do all with HYPOTHESIS_PROFILE=random.

Scratch memory is as the call before left it. Here each call finds large numbers there, so that one which a kernel takes for its own shows.
"""

import atexit
import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" not in os.environ:  # workers inherit the folder of the session that starts them
    _folder = tempfile.mkdtemp(prefix="juanji-test-")
    _owner = os.getpid()
    os.environ["JUANJI_CACHE_DIR"] = _folder
    os.environ.pop("JUANJI_NUM_THREADS", None)

    @atexit.register
    def _remove() -> None:
        if os.getpid() == _owner:  # not in a forked child
            shutil.rmtree(_folder, ignore_errors=True)


_common = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
settings.register_profile("random", _common)
settings.register_profile("repeatable", _common, derandomize=True)


def pytest_configure(config: pytest.Config) -> None:
    slow = "slow" in config.getoption("markexpr").replace("not slow", "")
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "random" if slow else "repeatable"))


LARGE = 0x4E  # in every byte, a large number of each type: 8.7e8 as float32, 1.6e69 as float64, 25.2 as float16


@pytest.fixture(autouse=True, scope="session")
def scratch_holds_large_numbers() -> Iterator[None]:
    """Fills scratch memory anew before each use."""
    from juanji import run

    thread: Any = run._Thread
    given = thread.scratch

    def filled(self: Any, size: int) -> Any:
        memory = given(self, size)
        if size:
            ctypes.memset(memory[0], LARGE, size)
        return memory

    thread.scratch = filled
    yield
    thread.scratch = given
