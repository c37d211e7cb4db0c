"""What a method is made from: the profile, the run's files, and the data set it was trained on."""

from dataclasses import dataclass

from cdlib.runs import Run
from cdlib.settings import Profile


@dataclass(frozen=True)
class Context:
    profile: Profile
    run: Run
    dataset: str
