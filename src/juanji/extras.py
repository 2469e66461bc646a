"""Optional packages: imported when first needed, and named with the extra that installs them when missing."""

from importlib import import_module
from typing import Any

from juanji.errors import ExtraError


def optional(module: str, extra: str) -> Any:
    """The module of an optional package.

    Raises ExtraError with one line that says what to install.

    >>> optional("math", "show").floor(2.5)
    2
    >>> optional("no_such_package", "data")
    Traceback (most recent call last):
    juanji.errors.ExtraError: no_such_package is not installed; pip install 'juanji[data]' brings it
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        if error.name is not None and error.name.split(".")[0] != package:  # it is there, and lacks something itself
            raise
        raise ExtraError(f"{package} is not installed; pip install 'juanji[{extra}]' brings it") from None
