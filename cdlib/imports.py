"""Which modules of cdlib a piece of source uses, found without running it.

The study runs a stage again when one of the stage's modules has changed; this says which those
are.
"""

import ast
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import cdlib

_PACKAGE = Path(cdlib.__file__).parent


def used_modules(sources: Iterable[str], package: Path = _PACKAGE) -> dict[str, Path]:
    """The modules that the sources import, and those that they import in turn, with their files.

    An import inside a function counts. The package's own `__init__` is left out: it computes
    nothing, and the names in it are followed to their modules.

    Raises:
        SyntaxError: a source, or a module, that is not Python.
    """
    found: dict[str, Path] = {}
    waiting = [name for source in sources for name in _imports(source, "")]
    while waiting:
        name = waiting.pop()
        file = _file(name, package)
        if name in found or file is None:
            continue
        found[name] = file
        parent = name.rpartition(".")[0]
        waiting.append(parent)  # a package is imported before its modules
        inside = name if file.name == "__init__.py" else parent
        waiting += _imports(file.read_text("utf-8"), inside)
    return dict(sorted(found.items()))


def _file(module: str, package: Path) -> Path | None:
    """The file of `cdlib.a.b`; None for the package itself, and where there is no such module."""
    root, _, rest = module.partition(".")
    if root != "cdlib" or not rest:
        return None
    path = package.joinpath(*rest.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


@cache  # a notebook's modules are most of the next one's
def _imports(source: str, package: str) -> tuple[str, ...]:
    """Whatever in a source may name a module; names that are none do no harm."""
    return tuple(name for node in ast.walk(ast.parse(source)) for name in _named(node, package))


def _named(node: ast.AST, package: str) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            dotted = "." * level + (module or "")
            base = importlib.util.resolve_name(dotted, package) if level else dotted
            yield base
            yield from (_member(base, alias.name) for alias in names)
        case ast.Attribute(value=ast.Name(id="cdlib"), attr=name):
            yield _member("cdlib", name)
        case ast.Constant(value=str(text)) if text.startswith("cdlib."):
            yield text  # import_module("cdlib.x"), or a table of modules


def _member(module: str, name: str) -> str:
    """The module behind `from module import name`."""
    if module == "cdlib" and name in cdlib.PUBLIC:
        return cdlib.PUBLIC[name]
    return f"{module}.{name}"
