"""What comes from elsewhere cannot run code, leave its folder or pass for something else."""

import ast
import io
import json
import os
import random
import tarfile
from hashlib import md5
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torchvision.datasets import Places365

import cdlib
from cdlib.checkpoints import CheckpointError, load_net, load_state, read_about, save_net
from cdlib.data.download import ensure_places365
from cdlib.runs import project_root
from cdlib.settings import ConfigurationError, load_profile, parse_override

# The source


def sources() -> dict[str, str]:
    """All code of the package and of the notebooks, by file."""
    found = {str(p): p.read_text("utf-8") for p in Path(cdlib.__file__).parent.rglob("*.py")}
    for path in (project_root() / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
        found[str(path)] = "\n".join(code)
    return found


FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
FORBIDDEN_CALLS = {
    *("eval", "exec", "os.system", "os.popen", "torch.jit.load", "pd.read_pickle"),
    *("yaml.load", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all"),
}


def dangers(source: str) -> list[str]:
    """The calls and imports in a source that could run what a file holds."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [a.name for a in names if a.name.split(".")[0] in FORBIDDEN_MODULES]
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in FORBIDDEN_MODULES:
                found.append(module)
            case ast.Call(func=func, keywords=keywords):
                name = ast.unparse(func)
                given = {k.arg: ast.unparse(k.value) for k in keywords}
                found += [name] if name in FORBIDDEN_CALLS else []
                for call, key, wanted in (
                    ("torch.load", "weights_only", ("True",)),
                    ("load_state_dict_from_url", "weights_only", ("True",)),
                    ("get_state_dict", "check_hash", ("True",)),
                    ("get_state_dict", "weights_only", ("True",)),
                    ("extractall", "filter", ("'data'",)),
                    ("unpack_archive", "filter", ("'data'",)),
                ):
                    if (name == call or name.endswith(f".{call}")) and given.get(key) not in wanted:
                        found.append(f"{name} without {key}")
                for key in ("allow_pickle", "shell"):
                    found += [f"{name} with {key}"] if given.get(key, "False") != "False" else []
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from dill import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "tar.extractall(folder)",
        "subprocess.run(command, shell=True)",
        "weights.get_state_dict()",
        "eval(text)",
    ],
)
def test_the_search_finds(source):
    assert dangers(source)


def test_nothing_in_the_package_runs_what_a_file_holds():
    assert {file: found for file, text in sources().items() if (found := dangers(text))} == {}


# Checkpoints


def net() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    save_net(path, {f"net.{key}": value for key, value in net().state_dict().items()}, {"net": "n"})
    return path


def damaged(content: bytes, kind: int, rng: random.Random) -> bytes:
    data = bytearray(content)
    match kind:
        case 0:
            return content[: rng.randrange(len(content))]
        case 1:
            return rng.randbytes(rng.randrange(400))
        case 2:  # a head of any length, up to 2**63 bytes
            return rng.randrange(2 ** rng.randrange(1, 64)).to_bytes(8, "little") + content[8:]
        case 3:
            data[rng.randrange(8, len(data))] = rng.randrange(256)
        case 4:
            data += rng.randbytes(16)
    return bytes(data)


def test_a_mutated_checkpoint_loads_or_is_refused_by_name(checkpoint):
    content, rng, refusals = checkpoint.read_bytes(), random.Random(0), []
    for round_ in range(300):
        checkpoint.write_bytes(damaged(content, round_ % 5, rng))
        try:
            load_net(checkpoint, net(), "net")
        except CheckpointError as error:
            refusals.append(str(error))
    assert 200 < len(refusals) < 300
    assert all(str(checkpoint) in refusal and "\n" not in refusal for refusal in refusals)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w | {"net.0.weight": torch.zeros(5, 4)}, r"net\.0\.weight has shape \(5, 4\)"),
        (lambda w: w | {"net.0.weight": torch.zeros(3, 4).long()}, r"0\.weight is of torch\.int64"),
        (lambda w: w | {"net.7.weight": torch.zeros(3)}, r"7\.weight is nothing .*another depth"),
        (lambda w: {k.replace("net", "other"): v for k, v in w.items()}, "another method"),
    ],
    ids=["shape", "type", "depth", "method"],
)
def test_a_checkpoint_of_another_net_is_refused_by_name(checkpoint, change, message):
    weights = {f"net.{key}": value for key, value in net().state_dict().items()}
    save_net(checkpoint, change(weights), {})
    with pytest.raises(CheckpointError, match=rf"{checkpoint}: .*{message}"):
        load_net(checkpoint, net(), "net")


def test_kernels_are_stored_in_half_precision_and_the_rest_exactly(tmp_path):
    path, stored, loaded = tmp_path / "net.safetensors", net(), net()
    with torch.no_grad():
        stored[1].weight[0, 0] = 1e5  # out of half precision's range: this kernel stays as it is
    save_net(path, {f"net.{key}": value for key, value in stored.state_dict().items()}, {})
    load_net(path, loaded, "net")
    assert torch.equal(loaded[0].weight, stored[0].weight.half().float())
    assert not torch.equal(loaded[0].weight, stored[0].weight)
    assert all(torch.equal(loaded[i].bias, stored[i].bias) for i in (0, 1))
    assert torch.equal(loaded[1].weight, stored[1].weight)


@pytest.mark.parametrize("about", [None, "3", "[]", "{", "[" * 100_000], ids=range(5))
def test_a_checkpoint_that_is_not_ours_is_refused_with_the_remedy(tmp_path, about):
    path = tmp_path / "net.safetensors"
    save_file({"a": torch.zeros(2)}, path, metadata=about and {"about": about})
    with pytest.raises(CheckpointError, match=r"net\.safetensors .*not of cdlib.*delete it"):
        read_about(path)


def test_a_mutated_state_is_passed_over(tmp_path):
    path = tmp_path / "net.resume.pt"
    torch.save({"nets": net().state_dict(), "step": 3}, path)
    content, rng = path.read_bytes(), random.Random(0)
    for round_ in range(100):
        path.write_bytes(damaged(content, round_ % 5, rng))
        state = load_state(path)
        assert state is None or state["step"] == 3


# Profiles


@pytest.mark.parametrize("place", ["profile", "override"])
@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.mkdir ['{folder}/made']",
        "!!python/object/new:os.mkdir ['{folder}/made']",
        "!!python/name:os.mkdir",
        "!!python/module:os",
        "[" * 1_000,
        "2020-13-45",
    ],
    ids=["apply", "new", "name", "module", "deep", "date"],
)
def test_yaml_runs_no_code(tmp_path, place, text):
    text = text.format(folder=tmp_path)
    path = tmp_path / "p.yaml"
    path.write_text(f"name: {text}")
    with pytest.raises(ConfigurationError, match=r"not YAML") as caught:
        load_profile(path) if place == "profile" else parse_override(f"name={text}")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["p.yaml"]


def test_a_profile_that_unfolds_without_end_is_refused_at_once(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    for key in ("size", "data", "train", "evaluate"):
        path = tmp_path / "p.yaml"
        path.write_text("\n".join([*lines, f"{key}: *a29"]))
        with pytest.raises(ConfigurationError, match=r"p\.yaml: ") as caught:
            load_profile(path)
        assert len(str(caught.value)) < 1000


def test_a_profile_in_another_encoding_is_refused_by_name(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_bytes("name: é".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"p\.yaml: not YAML"):
        load_profile(path)


@pytest.mark.parametrize("key", ["name", "data.faces.name"])
@pytest.mark.parametrize("name", ["../out", "/tmp/out", "..", ".", "", "a/b"])
def test_names_lead_out_of_no_folder(key, name):
    with pytest.raises(ConfigurationError, match=rf"{key} = '{name}': .*leave out slashes"):
        load_profile("quick", {key: name})


def test_settings_are_written_as_plain_yaml(tmp_path):
    from cdlib.workspace import open_workspace

    text = open_workspace("quick", {}, tmp_path).run.profile_file.read_text()
    assert "!!" not in text
    assert yaml.safe_load(text)["name"] == "quick"


# Archives


def tar_of(path: Path, names: list[str], link: str | None = None) -> str:
    """A tar file of small texts, and its MD5."""
    with tarfile.open(path, "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"text"))
        if link:
            member = tarfile.TarInfo("out")
            member.type, member.linkname = tarfile.SYMTYPE, link
            tar.addfile(member)
    return md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("names", "link"), [(["../evil.txt"], None), (["sub/../../evil.txt"], None), ([], "..")]
)
def test_no_member_of_an_archive_leaves_its_folder(tmp_path, monkeypatch, names, link):
    root = tmp_path / "raw" / "places"
    root.mkdir(parents=True)
    name = "filelist_places365-standard.tar"
    monkeypatch.setattr(
        Places365, "_DEVKIT_META", {"standard": (name, tar_of(root / name, names, link))}
    )
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded .*outside"):
        ensure_places365(root, "train", download=True)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file() or p.is_symlink()] == [name]


def test_a_download_with_another_hash_is_not_unpacked(tmp_path, monkeypatch):
    def fetch(url: str, path: str, **_) -> None:
        tar_of(Path(path), ["categories_places365.txt"])

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", fetch)
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, **_: url)
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded \(.*corrupted"):
        ensure_places365(tmp_path, "train", download=True)
    assert os.listdir(tmp_path) == ["filelist_places365-standard.tar"]
