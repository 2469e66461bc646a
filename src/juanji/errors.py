"""The exception tree.

    JuanjiError
    ├── ArgumentError (ValueError)            an argument breaks a rule; the message names it, its value and the rule
    │   └── ShapeError                        shapes that do not fit; the message shows the arithmetic
    ├── DtypeError (TypeError)                an element type that has no meaning here
    ├── NotBuiltError (NotImplementedError)   a described operator that no algorithm computes yet
    ├── FileError (OSError)                   a file that is missing, damaged or of an unknown kind
    │   └── FormatError                       a file that breaks its format; the message names the file, the place in it and the rule
    ├── ExtraError (ImportError)              an optional package that is not installed
    ├── DivergedError (ArithmeticError)       a training in which a number is not finite; the message names the layer
    └── CompileError (RuntimeError)           the code generator broke one of its own rules: a bug, please report it
"""


class JuanjiError(Exception):
    """Root of everything that juanji raises on purpose."""


class ArgumentError(JuanjiError, ValueError):
    """An argument breaks a rule."""


class ShapeError(ArgumentError):
    """Shapes that do not fit together."""


class DtypeError(JuanjiError, TypeError):
    """An element type that has no meaning here."""


class NotBuiltError(JuanjiError, NotImplementedError):
    """A described operator that no algorithm computes yet."""


class FileError(JuanjiError, OSError):
    """A file that is missing, damaged or of an unknown kind."""


class FormatError(FileError):
    """A file that breaks a rule of its format."""


class ExtraError(JuanjiError, ImportError):
    """An optional package that is not installed."""


class DivergedError(JuanjiError, ArithmeticError):
    """A training in which a number is not finite."""


class CompileError(JuanjiError, RuntimeError):
    """The code generator broke one of its own rules."""


def quoted(name: object) -> str:
    """A name out of a file, fit for one line of a message."""
    text = repr(name) if isinstance(name, str | int) else type(name).__name__
    return text if len(text) <= 80 else f"{text[:77]}..."
