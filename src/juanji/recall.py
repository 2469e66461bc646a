"""What an earlier process worked out, kept beside the compiled code: expectations, which take most of planning, the sources' hash.

Each answer is a file, named by a hash of its question and of the sources that it follows from, as the file system knows these: names,
inodes, sizes, and times of change, which no program can set. To read the sources would take as long as to work out the answer.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from juanji.jit import store

KIND = "plan"  # the ending of the files' names
ROOMS = ("", "jit", "algorithms")  # folders of the sources that answers follow from


def recalled(question: object, answer: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `answer` returned when the question was first asked. A question holds all that its answer follows from, but for the sources.

    The answer is made of what JSON knows.
    """
    sources = _sources()
    if sources is None:
        return answer()
    key = hashlib.sha256(f"{sources}\n{question!r}".encode()).hexdigest()
    content = store.read(key, KIND)
    if content is not None:
        known: dict[str, Any] = json.loads(content)
        return known
    found = answer()
    store.write(key, json.dumps(found).encode(), KIND)
    return found


@lru_cache(maxsize=1)
def _sources() -> str | None:
    """A hash of the sources' names, inodes, sizes and times of change; None where they are no files, as in an archive."""
    package = os.path.dirname(__file__)
    facts = []
    try:
        for room in ROOMS:
            with os.scandir(os.path.join(package, room)) as entries:
                found = ((entry.name, entry.stat()) for entry in entries if entry.name.endswith(".py"))
                facts += sorted((room, name, status.st_ino, status.st_size, status.st_ctime_ns) for name, status in found)
    except OSError:
        return None
    return hashlib.sha256(repr(facts).encode()).hexdigest()
