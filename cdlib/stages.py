"""The stages of a study, its notebooks: what each is made from, and whether it must run again.

A stage is current when nothing that it is made from has changed since it ran: the profile, the
notebook's cells, the modules of cdlib that the notebook imports, the prepared data, and the stage
before it.
"""

import ast
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

from cdlib.data.folder import Split
from cdlib.imports import used_modules
from cdlib.runs import digest, resolve, write_json
from cdlib.settings import ConfigurationError, Profile

PARAMETERS = {"profile", "overrides", "results_dir"}
_RECORD = {"inputs", "data", "seconds", "finished"}  # what `stages.json` holds of a stage


@dataclass(frozen=True)
class Stage:
    """A notebook of the sequence. `cells` are (type, source); `code` is what Python reads."""

    path: Path
    cells: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def code(self) -> list[str]:
        return [_without_magics(src) for kind, src in self.cells if kind == "code" and src.strip()]


def read_stages(folder: Path) -> list[Stage]:
    """`NN_*.ipynb` of a folder, in order.

    Raises:
        FileNotFoundError: no such folder, or no notebook in it.
        ConfigurationError: a notebook that cannot be read, or whose parameters are not ours.
    """
    paths = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not paths:
        raise FileNotFoundError(
            f"{folder}: no notebooks NN_*.ipynb here; start the study inside a checkout of the "
            "repository (the installed package alone has none)"
        )
    return [_read(path) for path in paths]


def _read(path: Path) -> Stage:
    try:
        cells = json.loads(path.read_text("utf-8"))["cells"]
        stage = Stage(path, tuple((cell["cell_type"], "".join(cell["source"])) for cell in cells))
        tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", ())]
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(f"{path}: not a notebook of format 4") from None
    for number, source in enumerate(stage.code, 1):
        try:
            ast.parse(source)
        except SyntaxError as error:
            raise ConfigurationError(
                f"{path}: code cell {number} is not Python: {error.msg}"
            ) from None
    # papermill only warns of an unknown parameter, and the notebook's own value would be used.
    names = [_assigned("".join(cell["source"])) for cell in tagged]
    if names != [PARAMETERS]:
        found = "; ".join(", ".join(sorted(cell)) for cell in names) or "no such cell"
        raise ConfigurationError(
            f"{path}: one cell must be tagged `parameters` and set exactly "
            f"{', '.join(sorted(PARAMETERS))}; found: {found}"
        )
    return stage


def _without_magics(source: str) -> str:
    """Jupyter's commands (`%x`, `!x`, whole cells of `%%x`) are not Python, and import nothing."""
    if source.startswith("%%"):
        return ""
    return "\n".join("" if line[:1] in ("%", "!") else line for line in source.split("\n"))


def _assigned(source: str) -> set[str]:
    names = set()
    for statement in ast.parse(source).body:
        match statement:
            case ast.Assign(targets=targets):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


def input_hash(profile: Profile, stage: Stage, before: str | None) -> str:
    """Of all that a stage is made from but the data, which it may itself prepare.

    Modules count by their syntax trees, since a comment changes no result. `before` is
    `Records.key` of the stage before.

    Raises:
        SyntaxError: a module that is not Python.
    """
    modules = {
        name: _code_hash(path.read_text("utf-8")) for name, path in used_modules(stage.code).items()
    }
    return digest([profile.model_dump(mode="json"), stage.cells, modules, before])


@cache  # stages share most of their modules
def _code_hash(source: str) -> str:
    return hashlib.sha256(ast.dump(ast.parse(source)).encode()).hexdigest()


def data_manifests(profile: Profile, prepared: Path) -> dict[str, dict[str, Any]]:
    """`<data set>/<split>-<size>` -> manifest, of what a profile uses, as far as prepared.

    That of images in shards is `<data set>/train-shards`.
    """
    manifests = {}
    for dataset in profile.datasets:
        for split in get_args(Split):
            if split == "train" and dataset.shards is not None:
                name, path = "train-shards", resolve(dataset.shards) / "manifest.json"
            else:
                name = f"{split}-{profile.side(split)}"
                path = prepared / dataset.name / f"{name}.json"
            try:
                content = json.loads(path.read_text("utf-8"))
            except (FileNotFoundError, ValueError):
                continue  # whoever opens the images makes them anew, or says what is wrong
            if isinstance(content, dict) and {"count", "skipped", "sha256"} <= content.keys():
                manifests[f"{dataset.name}/{name}"] = content
    return manifests


@dataclass
class Records:
    """`stages.json`: for each stage that ran to its end, from what (`inputs`, `data`) and how."""

    path: Path
    stages: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> "Records":
        try:
            stages = json.loads(path.read_text("utf-8"))
            if all(record.keys() >= _RECORD for record in stages.values()):
                return cls(path, stages)
        except FileNotFoundError:
            return cls(path, {})
        except (ValueError, AttributeError):
            pass
        raise ConfigurationError(f"{path}: damaged; delete it and run again")

    def key(self, stage: str) -> str | None:
        """What the next stage depends on; None where this one has not run."""
        record = self.stages.get(stage)
        return record and digest([record["inputs"], record["data"]])

    def current(self, stage: str, inputs: str, data: dict[str, str]) -> bool:
        """Whether the stage ran with these inputs; data that came later are not its concern."""
        record = self.stages.get(stage)
        if record is None or record["inputs"] != inputs:
            return False
        return all(data.get(name) == value for name, value in record["data"].items())

    def put(self, stage: str, record: dict[str, Any]) -> None:
        self.stages[stage] = record
        self._write()

    def drop(self, *stages: str) -> None:
        for stage in stages:
            self.stages.pop(stage, None)
        self._write()

    def _write(self) -> None:
        write_json(self.path, dict(sorted(self.stages.items())))
