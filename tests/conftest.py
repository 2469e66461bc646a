"""Every test session compiles into a folder of its own, which all its workers share.

Random tests draw the same examples in every default run, so that a commit that passed once passes again; the slow ones, which have their
own command, draw anew, and so do all with HYPOTHESIS_PROFILE=random.
"""

import atexit
import os
import shutil
import tempfile

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
