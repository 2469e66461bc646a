"""One lock around all that a forked child could find half done: importing the compiler, measuring the machine, compiling.

A child has only the thread that forked. What another thread held at that moment (an import, a lock inside LLVM) is held for
ever, so a fork waits until nobody is inside.
"""

import os
import threading

compiling = threading.RLock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=compiling.acquire, after_in_parent=compiling.release, after_in_child=compiling.release)
