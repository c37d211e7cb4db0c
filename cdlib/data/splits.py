"""The images of a profile: a split of one of its data sets, from shards or a prepared array."""

from cdlib.data.array import PreparedArray, prepare
from cdlib.data.folder import Split
from cdlib.data.shards import open_shards
from cdlib.runs import resolve
from cdlib.settings import Profile

# Splits stay the same under every training seed, so that seeds compare trainings alone.
SPLIT_SEED = 0


def open_split(profile: Profile, dataset: str, split: Split) -> PreparedArray:
    """Training images come from the data set's `shards` where the profile names them.

    Raises:
        FileNotFoundError, ValueError, OSError: see `cdlib.data.array.prepare` and
            `cdlib.data.shards.open_shards`.
    """
    spec = profile.dataset(dataset)
    if split == "train" and spec.shards is not None:
        return open_shards(resolve(spec.shards), spec.name, split, profile.side(split))
    return prepared_split(profile, dataset, split)


def prepared_split(profile: Profile, dataset: str, split: Split) -> PreparedArray:
    """Prepared once, then opened; see `cdlib.data.array.prepare`."""
    spec = profile.dataset(dataset)
    if spec.root is not None:
        spec = spec.model_copy(update={"root": resolve(spec.root)})
    folder = resolve(profile.data.prepared)
    return prepare(spec, split, profile.side(split), folder, SPLIT_SEED)
