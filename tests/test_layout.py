"""The floors of docs/architecture.md hold, and the package opens without heavy libraries."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import cdlib
from cdlib.runs import project_root

PACKAGE = Path(cdlib.__file__).parent


def floors() -> dict[str, int]:
    """Room -> floor, from the table."""
    text = (project_root() / "docs" / "architecture.md").read_text("utf-8")
    found = {}
    for floor, rooms in re.findall(r"^\| (\d) \| (.*?) \|", text, re.MULTILINE):
        found |= {room: int(floor) for room in re.findall(r"`([a-z_]+)`", rooms)}
    return found


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "cdlib":
            rooms |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cdlib."):
            rooms.add(node.module.split(".")[1])
    return rooms


def test_every_room_has_a_floor_and_imports_from_no_floor_above():
    known = floors()
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room.startswith("__"):
            continue
        assert room in known, f"{room} has no floor in docs/architecture.md"
        for other in imported_rooms(path) & known.keys():
            assert known[other] <= known[room], f"{path.name} imports {other}, a floor above"


def test_only_one_room_knows_papermill():
    knowing = [p.name for p in PACKAGE.rglob("*.py") if "import papermill" in p.read_text("utf-8")]
    assert knowing == ["execution.py"]


def test_the_package_and_its_command_open_without_heavy_libraries():
    program = (
        "import sys, cdlib, cdlib.cli; print({'torch', 'pandas', 'papermill'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_files_stay_small():
    long = {p.name for p in PACKAGE.rglob("*.py") if len(p.read_text("utf-8").splitlines()) > 300}
    assert long == set()
