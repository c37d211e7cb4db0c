import pytest
import yaml

from cdlib.settings import (
    ConfigurationError,
    load_profile,
    parse_override,
    profile_names,
)


@pytest.mark.parametrize("name", ["quick", "cpu", "gpu", "paper"])
def test_every_profile_is_valid_and_called_as_its_file(name):
    assert name in profile_names()
    assert load_profile(name).name == name


def test_the_papers_profile_has_the_papers_numbers():
    paper = load_profile("paper")
    assert (paper.size, paper.compressor.width, paper.compressor.learning_rate) == (256, 1.0, 2e-4)
    assert paper.judge.network == "vgg16_bn"
    assert (paper.super_resolution.features, paper.super_resolution.blocks) == (256, 32)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"train.imges_seen": 3}, r"unknown key train\.imges_seen; allowed here: .*images_seen"),
        ({"nonsense": 3}, r"unknown key nonsense; allowed here: .*compressor"),
        ({"size": 97}, r"size = 97: .*multiple of 8"),
        ({"fraction": 1.0}, r"fraction = 1\.0: .*less than 1"),
        ({"fraction": 0}, r"fraction = 0: .*greater than 0"),
        ({"train.images_seen": "many"}, r"train\.images_seen = 'many': .*integer"),
        ({"train.images_seen": 0}, r"train\.images_seen = 0: .*greater than or equal to 1"),
        ({"train.masks": "round"}, r"train\.masks = 'round': .*'edge', 'rectangle' or 'irregular'"),
        ({"compressor.learning_rate": "1e-4"}, r"compressor\.learning_rate = '1e-4': .*number"),
        ({"train.flip": 1}, r"train\.flip = 1: .*boolean"),
        ({"train.budget": "gmac"}, "needs `gmac`"),
        ({"data.scenes.source": "folder"}, "needs `root`"),
        ({"data.scenes.train": None}, "give `train` and `test`"),
        ({"size.large": 3}, "'size' holds a value"),
    ],
)
def test_what_it_does_not_take_is_refused_in_one_line_that_names_the_key(overrides, message):
    with pytest.raises(ConfigurationError, match=message) as refusal:
        load_profile("quick", overrides)
    assert "\n" not in str(refusal.value)


def test_unknown_profiles_and_files(tmp_path):
    with pytest.raises(ConfigurationError, match=r"'fast'.*cpu, gpu, paper, quick"):
        load_profile("fast")
    with pytest.raises(ConfigurationError, match=r"absent\.yaml"):
        load_profile(tmp_path / "absent.yaml")
    for content in ("[1, 2]", "a: [", "just text"):
        (tmp_path / "odd.yaml").write_text(content)
        with pytest.raises(ConfigurationError, match=r"odd\.yaml"):
            load_profile(tmp_path / "odd.yaml")


def test_a_resolved_profile_comes_back_from_its_file(tmp_path):
    changed = load_profile("cpu", {"train.images_seen": 20000, "texture.threshold": 0.1})
    path = tmp_path / "profile.yaml"
    path.write_text(yaml.safe_dump(changed.model_dump(mode="json")))
    assert load_profile(path) == changed


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("train.images_seen=20000", "train.images_seen", 20000),
        ("compressor.learning_rate=1e-4", "compressor.learning_rate", 1e-4),
        ("train.flip=false", "train.flip", False),
        ("data.scenes.root=data/raw/x=y", "data.scenes.root", "data/raw/x=y"),
        ("texture.threshold=null", "texture.threshold", None),
    ],
)
def test_overrides_are_read_as_yaml(text, key, value):
    assert parse_override(text) == (key, value)


@pytest.mark.parametrize("text", ["train.images_seen", "=3", "a=["])
def test_overrides_that_are_none(text):
    with pytest.raises(ConfigurationError, match="override"):
        parse_override(text)
