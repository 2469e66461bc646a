"""Time series in .ts files, the format of the UCR and UEA archives.

Tags that start with @ come first, then @data, then one line for each case: its channels, split by colons, each a list of numbers split by
commas, and last the class or the number to regress. A question mark is a missing value. Source: the description of the format by
aeon and sktime, whose loaders read the same files.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.data.reading import MOST_BYTES, counted, damaged, opened
from juanji.data.samples import Samples
from juanji.errors import FileError

Array = npt.NDArray[Any]

SWITCHES = {"true": True, "false": False}


@dataclass(frozen=True)
class Header:
    """What the tags say; None where a tag is not there."""

    classes: tuple[str, ...] | None = None  # of @classLabel
    numbers: bool = False  # @targetLabel true: a number to regress
    dimensions: int | None = None
    length: int | None = None

    @property
    def targeted(self) -> bool:
        return self.classes is not None or self.numbers


def read(path: str | os.PathLike[str], *, pad: float | None = None, missing: float | None = None) -> Samples:
    """The cases of a .ts file: x (N, C, L) in float32, y the places of their classes in @classLabel, or numbers.

    pad: what to put after series that are shorter than the longest; without it they are refused.
    missing: what to put where a value is missing, NaN for example; without it such a file is refused.

    Raises FileError naming the line that contradicts the tags, and refusing time stamps and cases without a target.
    """
    path = Path(path)
    with opened(path) as file:
        try:
            lines = file.read().decode().splitlines()
        except UnicodeDecodeError as error:
            raise damaged(path, f"is no UTF-8 text ({error.reason} at byte {error.start})") from None
    try:
        start, header = _header(lines)
        cases = list(_cases(lines, start, header, missing))
        x = _together([channels for channels, _ in cases], header, pad)
    except _LineError as error:
        raise damaged(path, str(error)) from None
    except _ChoiceError as error:
        raise FileError(f"{path}: {error}") from None
    y = np.array([target for _, target in cases], np.int64 if header.classes else np.float64)
    return Samples(x, y, header.classes)


class _LineError(Exception):
    """A line that breaks the format."""


class _ChoiceError(Exception):
    """Something that the format allows, and the caller must decide about."""


def _header(lines: list[str]) -> tuple[int, Header]:
    """The number of lines up to @data, and what their tags say."""
    found: dict[str, Any] = {}
    for number, line in enumerate(lines, 1):
        tag, *values = line.split() or [""]
        tag = tag.lower()
        if tag == "@data":
            header = Header(**found)
            if not header.targeted:
                raise _ChoiceError("has neither @classLabel true nor @targetLabel true; cases without a target cannot be learnt from")
            return number, header
        if not tag or tag.startswith("#"):
            continue
        if not tag.startswith("@"):
            raise _LineError(f"line {number} starts with {tag[:20]!r}, but a tag, a # or @data must come first")
        found |= _tag(tag, values, number)
    raise _LineError("has no line @data")


def _tag(tag: str, values: list[str], number: int) -> dict[str, Any]:
    match tag:
        case "@timestamps" if _switch(tag, values, number):
            raise _ChoiceError("has time stamps, which are not read; write the values alone")
        case "@classlabel" if _switch(tag, values, number):
            if len(values) < 2 or len(set(values[1:])) < len(values) - 1:
                raise _LineError(f"line {number}: {tag} must name each class once")
            return {"classes": tuple(values[1:])}
        case "@targetlabel":
            return {"numbers": _switch(tag, values, number)}
        case "@dimensions" | "@dimension":
            return {"dimensions": _count(tag, values, number)}
        case "@serieslength":
            return {"length": _count(tag, values, number) or None}  # some files write 0 for unequal lengths
        case "@univariate" if _switch(tag, values, number):
            return {"dimensions": 1}
    return {}  # names and remarks; @missing and @equalLength, which the data themselves show


def _switch(tag: str, values: list[str], number: int) -> bool:
    if not values or values[0].lower() not in SWITCHES:
        raise _LineError(f"line {number}: {tag} must say true or false")
    return SWITCHES[values[0].lower()]


def _count(tag: str, values: list[str], number: int) -> int:
    if len(values) != 1 or not values[0].isascii() or not values[0].isdigit() or len(values[0]) > 9:
        raise _LineError(f"line {number}: {tag} must be followed by a number")
    return int(values[0])


def _cases(lines: list[str], start: int, header: Header, missing: float | None) -> Iterator[tuple[list[Array], float]]:
    for number, line in enumerate(lines[start:], start + 1):
        if not line.strip() or line.startswith("#"):
            continue
        *channels, target = line.split(":")
        if not channels or (header.dimensions is not None and len(channels) != header.dimensions):
            wanted = "some" if header.dimensions is None else str(header.dimensions)
            raise _LineError(f"line {number} has {counted(len(channels), 'channel')} and a target, but must have {wanted}")
        yield [_values(channel, number, missing) for channel in channels], _target(target.strip(), header, number)


def _values(text: str, number: int, missing: float | None) -> Array:
    """The numbers of one channel."""
    try:
        values = np.array([math.nan if item.strip() == "?" else float(item) for item in text.split(",")])
    except ValueError as error:
        raise _LineError(f"line {number}: {error}") from None
    gaps = np.isnan(values)
    if gaps.any():
        if missing is None:
            raise _ChoiceError(f"line {number} has {counted(int(gaps.sum()), 'missing value')}; missing=0.0 or another number fills them")
        values[gaps] = missing
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    if not np.array_equal(np.isinf(narrow), np.isinf(values)):
        raise _LineError(f"line {number} has {values[np.isinf(narrow)][0]}, which float32 cannot hold")
    return narrow


def _target(text: str, header: Header, number: int) -> float:
    if header.classes is not None:
        if text not in header.classes:
            raise _LineError(f"line {number} is of class {text[:40]!r}, which @classLabel does not name")
        return header.classes.index(text)
    try:
        return float(text)
    except ValueError:
        raise _LineError(f"line {number} ends with {text[:40]!r}, but must end with a number") from None


def _together(cases: list[list[Array]], header: Header, pad: float | None) -> Array:
    """The channels of all cases as one array (N, C, L)."""
    if not cases:
        raise _LineError("has no cases after @data")
    channels = {len(case) for case in cases}
    if len(channels) > 1:
        raise _LineError(f"has cases of {min(channels)} and of {max(channels)} channels")
    lengths = {len(values) for case in cases for values in case}
    longest = max(lengths)
    if header.length is not None and longest != header.length:
        raise _LineError(f"has series of length {longest}, but @seriesLength says {header.length}")
    if len(lengths) == 1:
        return np.array(cases)
    if pad is None:
        raise _ChoiceError(f"has series of {min(lengths)} to {longest} values; pad=0.0 or another number makes them as long as the longest")
    shape = (len(cases), *channels, longest)
    if math.prod(shape) * 4 > MOST_BYTES:
        raise _ChoiceError(f"padded to {shape} it would take {counted(math.prod(shape) * 4, 'byte')}; cut the longest series")
    x = np.full(shape, pad, np.float32)
    for row, case in zip(x, cases, strict=True):
        for channel, values in zip(row, case, strict=True):
            channel[: len(values)] = values
    return x


def read_pair(path: str | os.PathLike[str], *, pad: float | None = None, missing: float | None = None) -> tuple[Samples, Samples]:
    """Training and test cases of NAME_TRAIN.ts and the NAME_TEST.ts beside it.

    Padded series are as long as the longest of both. Raises FileError if one is missing or the two do not fit together.
    """
    path = Path(path)
    other = path.with_name(path.name.replace("_TRAIN.ts", "_TEST.ts"))
    train, test = (read(part, pad=pad, missing=missing) for part in (path, other))
    if train.classes != test.classes or train.x.shape[1] != test.x.shape[1]:
        raise FileError(f"{other}: has {test}, which does not fit the training set's {train}")
    length = max(train.x.shape[2], test.x.shape[2])
    return _lengthened(train, length, pad, other), _lengthened(test, length, pad, other)


def _lengthened(samples: Samples, length: int, pad: float | None, path: Path) -> Samples:
    short = length - samples.x.shape[2]
    if short == 0:
        return samples
    if pad is None:
        raise FileError(f"{path}: has series of another length than the training set; pad=0.0 or another number makes them equal")
    return Samples(np.pad(samples.x, ((0, 0), (0, 0), (0, short)), constant_values=pad), samples.y, samples.classes)
