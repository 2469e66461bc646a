"""What `tune` found fastest, remembered for this machine and this version: one file beside the compiled code.

A process reads the file once, when it first plans, so that its bits do not change under it unless it tunes itself. The file holds
names, never code: of algorithms by the description of one image, of schedules by the whole description. A name that fits nothing is
as good as none, so a file of an older version, a damaged or a foreign one costs nothing but its figures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from juanji import machine as machines
from juanji.jit import store
from juanji.jit.lock import compiling
from juanji.spec import Convolution

KIND = "tuned"  # the ending of the file's name
FORMAT = 1
EMPTY_PLANS: list[Callable[[], object]] = []  # what empties each cache of plans, which a new winner makes old


class Winner(NamedTuple):
    """The schedules that were fastest for one algorithm, as they print, one for each job; none where they follow from the description.

    seconds: of a call, with so many threads, and the share of packing weights that counts to it. before: likewise, of the plan that was
    there without them.
    """

    schedules: tuple[str, ...]
    seconds: float
    before: float
    threads: int


def one_image(spec: Convolution) -> tuple[Convolution, Convolution]:
    """What the choice of an algorithm is made for, in both layouts, channels-last first: neither batch nor layout may show in the bits."""
    last = replace(spec, batch=1, layout="channels_last", weight_layout="*IO")
    return last, replace(last, layout="channels_first", weight_layout="OI*")


def algorithm(spec: Convolution, produces: str, precision: str) -> str | None:
    """The name of the algorithm that won for a product of one image of a description."""
    name = _kept()["algorithms"].get(_key(one_image(spec)[0], produces, precision))
    return name if isinstance(name, str) else None


def winner(spec: Convolution, produces: str, algorithm: str) -> Winner | None:
    """What won for a product of a description by an algorithm."""
    match _kept()["winners"].get(_key(spec, produces, algorithm)):
        case [[*schedules], int() | float() as seconds, int() | float() as before, int() as threads]:
            return Winner(tuple(map(str, schedules)), seconds, before, threads)
        case _:
            return None


def remember_algorithm(spec: Convolution, produces: str, precision: str, name: str) -> None:
    """Keep the algorithm of a product, for every batch and layout."""
    _remember("algorithms", _key(one_image(spec)[0], produces, precision), name)


def remember(spec: Convolution, produces: str, algorithm: str, found: Winner) -> None:
    """Keep the schedules of a product by an algorithm."""
    _remember("winners", _key(spec, produces, algorithm), found)


def forget() -> None:
    """Remove everything, also what other versions kept."""
    with compiling:
        store.remove(KIND)
        _kept.cache_clear()
    _empty_plans()


def _remember(table: str, key: str, value: Any) -> None:
    """Into the process and, joined to what other processes have written meanwhile, into the file."""
    with compiling:
        _kept()[table][key] = value
        joined = _read()
        joined[table][key] = value
        store.write(_file(), json.dumps(joined).encode(), KIND)
    _empty_plans()


def _empty_plans() -> None:
    for empty in EMPTY_PLANS:
        empty()


@lru_cache(maxsize=1)
def _kept() -> dict[str, dict[str, Any]]:
    with compiling:
        return _read()


def _read() -> dict[str, dict[str, Any]]:
    """What the file holds; empty tables where there is none that can be trusted."""
    tables: dict[str, dict[str, Any]] = {"algorithms": {}, "winners": {}}
    content = store.read(_file(), KIND)
    try:
        stored = json.loads(content or b"{}")
    except ValueError:
        return tables
    for name, table in tables.items():
        if isinstance(stored, dict) and isinstance(stored.get(name), dict):
            table.update(stored[name])
    return tables


def _file() -> str:
    return hashlib.sha256(f"tuned {FORMAT} {machines.identity()}".encode()).hexdigest()


def _key(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
