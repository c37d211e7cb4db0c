"""What the set-up files say of the package, and that they agree."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cdlib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIRED = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]


def locked() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def test_environment_yml_asks_for_what_the_package_does() -> None:
    python, pip, packages = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert Requirement(python.replace("=", "==")).specifier.contains("3.11")
    assert pip == "pip"
    assert packages["pip"] == [*REQUIRED, "--editable ."]


def test_the_lock_pins_everything_and_keeps_to_the_ranges() -> None:
    pins = {name: next(iter(requirement.specifier)) for name, requirement in locked().items()}
    assert {pin.operator for pin in pins.values()} == {"=="}
    for requirement in map(Requirement, REQUIRED):
        pin = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin.version), (requirement, pin)
    assert not {"cdlib-inpainting", "pip", "setuptools", "wheel"} & set(pins)


def test_the_version_is_said_once_more_in_the_package() -> None:
    assert cdlib.__version__ == PROJECT["version"]


@pytest.mark.parametrize("name", sorted(cdlib.PUBLIC))
def test_public_names_lead_somewhere(name: str) -> None:
    assert getattr(cdlib, name).__module__.startswith(cdlib.PUBLIC[name])
    assert name in dir(cdlib)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'edge_masks'"):
        _ = cdlib.edge_masks


def test_importing_cdlib_imports_nothing_heavy() -> None:
    code = "import sys, cdlib; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
