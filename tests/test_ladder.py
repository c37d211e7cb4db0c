"""The sanity ladder: every committed net beats the mean colour and the stretched image.

On photographs that come with scikit-image, which no net was trained on.
"""

import pytest
import torch
import torch.nn.functional as F
from skimage import data
from torchvision.transforms.functional import to_tensor

from cdlib import metrics
from cdlib.masks import compose, edge_mask
from cdlib.methods import METHODS, load_method
from cdlib.runs import project_root
from cdlib.settings import SIDES, load_profile

RUN = project_root() / "results" / "cpu"
PROFILE = load_profile(RUN / "profile.yaml")
PHOTOGRAPHS = (
    data.astronaut,
    data.chelsea,
    data.coffee,
    data.rocket,
    lambda: data.stereo_motorcycle()[0],
)
TRAINED = [
    name
    for name in PROFILE.evaluate.methods
    if METHODS[name].nets and not METHODS[name].oracle and name != "Ours_bicubic"
]


@pytest.fixture(scope="module")
def photographs():
    """The largest squares at both ends of each photograph, under each edge mask in turn."""
    squares = []
    for photograph in PHOTOGRAPHS:
        image = to_tensor(photograph())
        side = min(image.shape[1:])
        squares += [image[:, :side, :side], image[:, -side:, -side:]]
    shape = (PROFILE.size, PROFILE.size)
    small = [F.interpolate(s[None], shape, mode="area")[0] for s in squares]
    images = torch.stack([image for image in small for _ in SIDES])
    masks = [edge_mask(*shape, side, PROFILE.fraction) for side in SIDES]
    return images, torch.stack(masks * len(small))


def composed_l1(name, photographs):
    image, mask = photographs
    output = load_method(name, RUN, "scenes")(image, mask)
    return metrics.l1(compose(output, image, mask), image).mean().item()


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("floor", ["mean", "stretch"])
def test_every_trained_network_beats_the_floors(name, floor, photographs):
    assert composed_l1(name, photographs) < composed_l1(floor, photographs)
