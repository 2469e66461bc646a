"""python docs/reference.py: writes docs/api.md, every public name with its signature and documentation."""

import inspect
from pathlib import Path
from types import ModuleType

import juanji as jj

PAGE = Path(__file__).with_name("api.md")
MODULES = (
    (jj, "juanji as jj"), (jj.image, "jj.image"), (jj.signal, "jj.signal"), (jj.explain, "jj.explain"), (jj.inside, "jj.inside"),
    (jj.show, "jj.show"), (jj.data, "jj.data"), (jj.nn, "jj.nn"), (jj.nn.models, "jj.nn.models"),
)  # fmt: skip


def page() -> str:
    """The page, made from what the package says of itself."""
    lines = ["# Every public name", "", "Made by `python docs/reference.py` from the package's own documentation.", ""]
    for module, name in MODULES:
        lines += [f"## {name}", "", inspect.cleandoc(module.__doc__ or ""), ""]
        for public in module.__all__:
            value = getattr(module, public)
            if documented(value):
                lines += [f"### {public}", "", "```python", f"{public}{signature(value)}", "```", "", *documentation(value), ""]
    return "\n".join(lines).rstrip() + "\n"


def documented(value: object) -> bool:
    """Whether a public value has an entry: functions and classes do."""
    return not isinstance(value, ModuleType) and (inspect.isfunction(value) or inspect.isclass(value))


def signature(value: object) -> str:
    """The parameters, without the types, which the text explains."""
    if inspect.isclass(value) and issubclass(value, Exception):
        return ""
    whole = inspect.signature(value)  # type: ignore[arg-type]
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in whole.parameters.values()]
    return str(whole.replace(parameters=plain, return_annotation=inspect.Signature.empty))


def documentation(value: object) -> list[str]:
    """The docstring: prose as it stands, its examples as code."""
    found, code = [], False
    for line in inspect.cleandoc(value.__doc__ or "").splitlines():
        starts = line.startswith(">>>")
        if starts and not code:
            found.append("```pycon")
            code = True
        elif code and not line:
            found.append("```")
            code = False
        found.append(line)
    return [*found, "```"] if code else found


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
