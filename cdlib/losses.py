"""Training losses (paper sec. 3.1; GAN terms: Yu et al. 2019, sec. 3.3): pure functions."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Mean of relu(1 - real) and relu(1 + fake), halved; scores of any shape. Scalar >= 0."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def hinge_generator(fake: Tensor) -> Tensor:
    """-mean(fake): the generator's side of the hinge loss. Scalar."""
    return -fake.mean()


def variation(image: Tensor, form: Literal["total", "variance"] = "total") -> Tensor:
    """The paper's "variance loss", which it does not define, of an image (B,C,H,W). Scalar >= 0.

    `total`: anisotropic total variation, the mean absolute difference of neighbours, down plus
    across. `variance`: the variance of each 3x3 neighbourhood, averaged.
    """
    if form == "total":
        down = (image[..., 1:, :] - image[..., :-1, :]).abs().mean()
        across = (image[..., :, 1:] - image[..., :, :-1]).abs().mean()
        return down + across
    mean = F.avg_pool2d(image, 3, stride=1)
    return (F.avg_pool2d(image.square(), 3, stride=1) - mean.square()).clamp_min(0).mean()
