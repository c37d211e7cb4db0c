"""The typed profile: every switch of the study, its YAML files, overrides and refusals.

A profile is one YAML file (`cdlib/profiles/*.yaml`, or a path) plus overrides by dotted keys.
YAML reads `1e-4` as a string and `off` as False, so the models are strict: what they did not
expect, they refuse, with the key and what is allowed there.
"""

from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]
Location = Annotated[Path, Field(strict=False)]
Side = Literal["top", "bottom", "left", "right"]
SIDES: tuple[Side, ...] = get_args(Side)
MaskKind = Literal["edge", "rectangle", "irregular"]


class ConfigurationError(ValueError):
    """A profile, a key or a value that the study does not take; the message is one line."""


def _folder_name(name: str) -> str:
    if Path(name).name != name or name in ("", ".."):
        raise ValueError("it names a folder; leave out slashes, and '..'")
    return name


FolderName = Annotated[str, AfterValidator(_folder_name)]


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DatasetSettings(Settings):
    """One data set: where it comes from and how much of it is used."""

    name: FolderName
    source: Literal["synthetic-scenes", "synthetic-faces", "folder", "places365", "celeba"]
    root: Location | None = None
    train: Count | None = None  # at most so many training images; null takes all
    validation: Count = 300  # cut from the training part, where the set has none of its own
    test: Count | None = None
    # A folder of `cdlib data shard`: training images are then read from there.
    shards: Location | None = None

    @model_validator(mode="after")
    def _complete(self) -> "DatasetSettings":
        if self.source.startswith("synthetic"):
            if self.train is None or self.test is None:
                raise ValueError(f"{self.source} has no end of images: give `train` and `test`")
        elif self.root is None:
            raise ValueError(f"source {self.source!r} needs `root`, the folder of the images")
        return self


class DataSettings(Settings):
    prepared: Location = Path("data/prepared")
    # Training images are kept this much larger than they are used, so that random crops
    # (train.crop) shrink instead of enlarging.
    margin: Annotated[float, Field(ge=1, le=2)] = 1.0
    scenes: DatasetSettings  # the many-scene set: the paper's Places2
    faces: DatasetSettings  # the face set: the paper's CelebA


class TrainSettings(Settings):
    """What is the same for every network."""

    budget: Literal["images", "gmac"] = "images"
    images_seen: Count
    gmac: Annotated[float, Field(gt=0)] | None = None  # multiply-accumulates, 1e9, a network
    batch_size: Count = 16
    masks: MaskKind = "edge"
    crop: Annotated[float, Field(gt=0, le=1)] = 0.65  # smallest side of a random crop; 1 is off
    flip: bool = True
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.998  # of the weights that are kept; 0 is off
    validate_every: Count = 2000  # images
    checkpoint_every: Count = 2000  # images
    fast: bool = True  # the CPU's faster forms (cdlib.fast)
    allowed: bool = True  # false: take finished nets, and stop where one is missing

    @model_validator(mode="after")
    def _budget(self) -> "TrainSettings":
        if self.budget == "gmac" and self.gmac is None:
            raise ValueError("budget 'gmac' needs `gmac`, the multiply-accumulates (1e9) a network")
        return self


class CompressorSettings(Settings):
    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    mapping: Literal["plain", "gated"] = "plain"
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    reconstruction: Weight = 1.0
    adversarial: Weight = 0.05
    variation: Weight = 0.1
    variation_form: Literal["total", "variance"] = "total"
    lr_truth: Literal["area", "bicubic"] = "area"


class SuperResolutionSettings(Settings):
    """EDSR x4 after x2 (Lim et al. 2017); the source's sizes are 256 features and 32 blocks."""

    features: Count = 64
    blocks: Count = 16
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    images_seen: Count | None = None  # null: as train.images_seen
    trained_on: Literal["truth", "completion"] = "truth"  # LR truth, or the compressor's output


class PeerNetworkSettings(Settings):
    """A rival: its width, channels of its first layer as its paper counts them, and Adam's rate."""

    width: Count
    learning_rate: Annotated[float, Field(gt=0)]


class PeerSettings(Settings):
    """The rivals of Table 2; the defaults are their papers' own sizes and rates."""

    gated_conv: PeerNetworkSettings = PeerNetworkSettings(width=48, learning_rate=1e-4)
    partial_conv: PeerNetworkSettings = PeerNetworkSettings(width=64, learning_rate=2e-4)
    edge_connect: PeerNetworkSettings = PeerNetworkSettings(width=64, learning_rate=1e-4)
    context_encoder: PeerNetworkSettings = PeerNetworkSettings(width=64, learning_rate=2e-3)


class TextureSettings(Settings):
    """`threshold` is Eq. 3's t; null: the best of `thresholds` on validation images."""

    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    thresholds: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (0.0, 0.02, 0.05, 0.1, 0.2, 0.4), strict=False
    )


class JudgeSettings(Settings):
    """The paper's CN: a network with 1,000 ImageNet outputs and a new layer 1,000 -> classes."""

    network: Literal["vgg16_bn", "tf_efficientnet_lite0", "small"]
    images_seen: Count
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    input_size: Annotated[int, Field(ge=32)] = 96  # pixels that the judge looks at


class EvaluateSettings(Settings):
    """`methods` stand in Table 2, in this order: names of `cdlib.methods.METHODS`."""

    methods: tuple[str, ...] = Field(
        (
            *("Ours_STS", "Ours_STS_oracle", "Ours_SRN", "Ours_bicubic"),
            *("GatedConv", "PartialConv", "EdgeConnect", "EdgeConnect_oracle", "ContextEncoder"),
            *("telea", "navier_stokes", "biharmonic", "patchmatch", "nearest_image"),
            *("mean", "masked", "stretch"),
        ),
        strict=False,
    )
    batch_size: Count = 50
    resamples: Annotated[int, Field(ge=100)] = 1000  # of the bootstrap
    level: Fraction = 0.95


class Profile(Settings):
    """A whole study, resolved."""

    name: FolderName
    seed: Annotated[int, Field(ge=0)] = 0
    size: Annotated[int, Field(ge=32, multiple_of=8)]  # pixels, HR side
    fraction: Fraction = 0.3  # of the frame that an edge hole takes
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Count = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    data: DataSettings
    train: TrainSettings
    compressor: CompressorSettings
    super_resolution: SuperResolutionSettings
    peers: PeerSettings = PeerSettings()
    texture: TextureSettings = TextureSettings()
    judge: JudgeSettings
    evaluate: EvaluateSettings = EvaluateSettings()

    @property
    def datasets(self) -> tuple[DatasetSettings, DatasetSettings]:
        return self.data.scenes, self.data.faces

    def dataset(self, name: str) -> DatasetSettings:
        """By its name in the tables, or by its role, `scenes` or `faces`."""
        by_role = {"scenes": self.data.scenes, "faces": self.data.faces}
        by_name = {dataset.name: dataset for dataset in self.datasets}
        if name in by_name or name in by_role:
            return (by_role | by_name)[name]
        raise ConfigurationError(f"data set {name!r}: profile {self.name} has {', '.join(by_name)}")

    def side(self, split: str) -> int:
        """Pixels of a split's images as they are kept; see `data.margin`."""
        return round(self.size * self.data.margin) if split == "train" else self.size


def profile_names() -> list[str]:
    folder = resources.files("cdlib") / "profiles"
    return sorted(
        f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")
    )


def load_profile(profile: str | Path, overrides: dict[str, Any] | None = None) -> Profile:
    """A built-in profile by name, or a YAML file by path, with overrides by dotted keys.

    Raises:
        ConfigurationError: unknown profile, key or override, or a value outside what is allowed.
    """
    content = _read(profile)
    for key, value in (overrides or {}).items():
        _override(content, key, value)
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError(f"profile {profile}: {_explain(error)}") from None


def parse_override(text: str) -> tuple[str, Any]:
    """`train.images_seen=20000` -> ("train.images_seen", 20000); the value is read as YAML."""
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise ConfigurationError(
            f"override {text!r}: write key=value, e.g. train.images_seen=20000"
        )
    try:
        parsed = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigurationError(f"override {text!r}: the value is not YAML") from None
    if isinstance(parsed, str):
        with suppress(ValueError):  # YAML 1.1 takes 1e-4 for a string
            parsed = float(parsed)
    return key, parsed


def _read(profile: str | Path) -> dict[str, Any]:
    if str(profile) in profile_names():
        text = (resources.files("cdlib") / "profiles" / f"{profile}.yaml").read_text("utf-8")
    elif Path(profile).suffix in (".yaml", ".yml"):
        try:
            text = Path(profile).read_bytes()
        except OSError as error:
            raise ConfigurationError(f"profile {profile}: {error.strerror}") from None
    else:
        known = ", ".join(profile_names())
        raise ConfigurationError(
            f"profile {profile!r}: known are {known}, or a path to a .yaml file"
        )
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = str(error).replace("\n", " ")
        raise ConfigurationError(f"profile {profile}: not YAML: {where}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"profile {profile}: must be a mapping of keys to values")
    return content


def _override(content: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    node = content
    for name in path:
        node = node.setdefault(name, {})
        if not isinstance(node, dict):
            raise ConfigurationError(f"override {key!r}: {name!r} holds a value, not keys")
    node[last] = value


def _explain(error: ValidationError) -> str:
    """The first fault in one line: key, value, what is allowed."""
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"]) or "profile"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if fault["type"] == "extra_forbidden":
        allowed = ", ".join(_keys_beside(fault["loc"]))
        return f"unknown key {key}; allowed here: {allowed}{more}"
    if fault["type"] == "missing":
        return f"{key} is missing{more}"
    message = fault["msg"].removeprefix("Value error, ")
    return (
        f"{key} = {fault['input']!r}: {message[0].lower()}{message[1:]}{more}"
        if not isinstance(fault["input"], dict | list)
        else f"{key}: {message}{more}"
    )


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Profile
    for name in location[:-1]:
        model = model.model_fields[name].annotation
    return list(model.model_fields)
