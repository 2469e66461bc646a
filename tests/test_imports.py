"""The rooms of the house: imports run one way, `import juanji` is light, public names are there."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import juanji as jj
from compiled import SOURCE, run_python

# In processing order. A module may import from earlier lines, a package's modules also from one another (without a circle).
ROOMS = (
    "errors",
    "atomic",
    "pickles",
    "extras",
    "kept",
    "boundary",
    "factors",
    "spec",
    "exact",
    "complexes",
    "describe",
    "contraction",
    "phases",
    "turns",
    "reference",
    "windows",
    "reference_pooling",
    "jit",
    "recall",
    "machine",
    "crew",
    "run",
    "entry",
    "algorithms",
    "sequence",
    "elementwise",
    "extents",
    "channelwise",
    "parts",
    "winners",
    "plans",
    "planner",
    "kinds",
    "calls",
    "convolution",
    "gradients",
    "tuning",
    "pooler",
    "pooling",
    "interop",
    "signal",
    "image",
    "data",
    "nn",
    "explain",
    "inside",
    "messages",
    "show",
    "cli",
    "__main__",
)
# Who may import what is neither ours nor the standard library's nor NumPy.
OTHERS: dict[str, set[str]] = {
    "llvmlite": {"jit.compile"},
    "PIL": {"image.files", "data.pictures", "data.tiff", "show"},
    "typer": {"cli"},
    "rich": {"cli", "nn.training.progress"},
    "torch": {"interop.autograd", "interop.torch"},
    "ml_dtypes": {"interop.autograd", "nn.formats.elements"},
    "h5py": {"nn.formats.keras_layouts"},
    "scipy": {"explain.matrix"},
    "matplotlib": {"show"},
    "onnx": set(),
    "cv2": set(),
    "dask": set(),
}

PACKAGE = SOURCE / "juanji"
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}


def imported(path: Path) -> Iterator[str]:
    """The full name of every module that a file imports, inside functions too; of `from a import b` a.b if that is a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            module = node.module or ""
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix("juanji.")
                yield f"juanji.{inner}" if inner in FILES else module


def ours(name: str) -> list[str]:
    """The modules of juanji that a module imports, without the package's name."""
    found = (full for full in imported(FILES[name]) if full.startswith("juanji."))
    return [full.removeprefix("juanji.") for full in found]


def room(name: str) -> int:
    """The line of `ROOMS` that a module stands in."""
    first = name.split(".")[0]
    assert first in ROOMS, f"{name} has no place in ROOMS"
    return ROOMS.index(first)


@pytest.mark.parametrize("name", FILES)
def test_imports_run_downward(name: str) -> None:
    for other in ours(name):
        assert room(other) <= room(name), f"{name} imports {other}, which comes later"


def test_every_room_exists() -> None:
    assert {name.split(".")[0] for name in FILES} == set(ROOMS)


def test_no_circles() -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"circle {' → '.join([*path, name])}"
        if name not in done:
            for other in ours(name):
                if other != name and not (other in path and name.startswith(f"{other}.")):  # a package names its modules
                    visit(other, (*path, name))
            done.add(name)

    for name in FILES:
        visit(name, ())


@pytest.mark.parametrize("name", FILES)
def test_who_uses_what(name: str) -> None:
    for full in imported(FILES[name]):
        first = full.split(".")[0]
        if first in OTHERS:
            assert any(f"{name}.".startswith(f"{allowed}.") for allowed in OTHERS[first]), f"{name} imports {first}"


HEAVY = ["PIL", "cv2", "llvmlite", "matplotlib", "rich", "scipy", "torch", "typer"]


@pytest.mark.parametrize(
    "code",
    [
        "import juanji",
        "import juanji as jj; jj.conv; jj.plan; jj.convolve; jj.Plan; jj.reference; jj.set_threads; dir(jj)",
        "import juanji as jj; jj.explain.toeplitz",
    ],
)
def test_importing_is_light(code: str) -> None:
    assert run_python(f"{code}\nimport sys; print([name for name in {HEAVY} if name in sys.modules])").strip() == "[]"


def test_pictures_need_pillow_only_for_files() -> None:
    code = """
import sys
import numpy as np
import juanji as jj
y = jj.image.filter(np.arange(20 * 30).reshape(20, 30).astype("uint8"), "mean")
assert y.shape == (20, 30)
print(sorted({"PIL", "typer", "rich", "matplotlib"} & sys.modules.keys()))
"""
    assert run_python(code).strip() == "[]"


def test_public_names() -> None:
    assert len(set(jj.__all__)) == len(jj.__all__)
    for name in jj.__all__:
        value = getattr(jj, name)
        assert value is getattr(jj, name)
        assert getattr(value, "__doc__", None), f"{name} has no documentation"
    assert set(jj.__all__) <= set(dir(jj))
    scope: dict[str, object] = {}
    exec("from juanji import *", scope)
    assert set(jj.__all__) <= scope.keys()


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="module 'juanji' has no attribute 'convolv'"):
        jj.convolv  # noqa: B018
