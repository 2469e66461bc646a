"""`Reader`: how a kind of data is read, and which options have a meaning for it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from juanji.data.samples import Samples
from juanji.errors import ArgumentError

Parts = Samples | tuple[Samples, Samples]  # in one piece, or training and test samples


@dataclass(frozen=True)
class Reader:
    """A function of the file or folder, and the names of the options that it takes."""

    read: Callable[..., Parts]
    options: tuple[str, ...] = ()

    def __call__(self, path: Path, options: dict[str, Any]) -> Parts:
        self.check(path, options)
        return self.read(path, **options)

    def check(self, path: Path, options: dict[str, Any]) -> None:
        """Refuse an option that these data have no use for."""
        for name, value in options.items():
            if name not in self.options:
                takes = f"which takes {' and '.join(self.options)}" if self.options else "which takes no options"
                raise ArgumentError(f"{name} (={value!r}) has no meaning for {path}, {takes}")
