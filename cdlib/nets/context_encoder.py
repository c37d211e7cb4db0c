"""Context Encoder (Pathak et al. 2016, *Context Encoders: Feature Learning by Inpainting*).

An encoder of five halvings, a channel-wise fully connected layer (sec. 3.1), and a decoder back to
full size; and its critic. Layers as in the authors' code for holes anywhere in the image, whose
bottleneck, though, is one dense layer of 4,000 units: we keep to the paper's. The net does not see
the mask: the hole holds the mean colour. Because of the fully connected layer it is made for one
image size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FACTOR = 32  # of the five halvings
ENCODER = (1, 1, 2, 4, 8)  # widths of the 4x4 stride-2 convolutions, in units of the base width
DECODER = (4, 2, 1, 1)  # of the transposed ones; a last one makes the image
CRITIC = (1, 1, 2, 4, 8)
MEAN_COLOUR = (117 / 255, 104 / 255, 123 / 255)


def net_size(size: int) -> int:
    """The side, a multiple of 32, of the net that serves images of side `size`."""
    return max(FACTOR, FACTOR * round(size / FACTOR))


class ChannelwiseLinear(nn.Module):
    """Every place to every place, within each channel: (B,C,n,n) -> (B,C,n,n). Sec. 3.1."""

    def __init__(self, channels: int, side: int):
        super().__init__()
        places = side**2
        bound = places**-0.5
        self.weight = nn.Parameter(torch.empty(channels, places, places).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(channels, places))

    def forward(self, x: Tensor) -> Tensor:
        flat = torch.einsum("bcp,cpq->bcq", x.flatten(2), self.weight) + self.bias
        return flat.unflatten(2, x.shape[2:])


class ContextEncoder(nn.Module):
    """Masked image (B,3,H,W) in [0,1] and mask (B,1,H,W), 1 valid -> image (B,3,H,W) in [0,1].

    An image of another size than the net's is resized to it, square, and its output back. Inside,
    images lie in [-1,1].

    Raises:
        ValueError: `size` is not a multiple of 32.
    """

    def __init__(self, size: int, width: int = 64):
        super().__init__()
        if size % FACTOR:
            raise ValueError(f"size {size}: a context encoder needs a multiple of {FACTOR}")
        self.size = size
        deep = ENCODER[-1] * width
        self.encoder = nn.Sequential(*_halvings(ENCODER, width))
        self.everywhere = nn.Sequential(
            ChannelwiseLinear(deep, size // FACTOR),
            nn.Conv2d(deep, deep, kernel_size=1, bias=False),  # the layer above mixes no channels
            nn.BatchNorm2d(deep),
            nn.ReLU(),
        )
        layers: list[nn.Module] = []
        inputs = deep
        for multiple in DECODER:
            channels = multiple * width
            conv = nn.ConvTranspose2d(inputs, channels, 4, stride=2, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(channels), nn.ReLU()]
            inputs = channels
        layers += [nn.ConvTranspose2d(inputs, 3, 4, stride=2, padding=1), nn.Tanh()]
        self.decoder = nn.Sequential(*layers)
        self.register_buffer("fill", torch.tensor(MEAN_COLOUR).view(1, 3, 1, 1), persistent=False)
        _initialise(self)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        size = image.shape[-2:]
        x = _resize(torch.where(mask > 0, image, self.fill), (self.size, self.size))
        x = self.encoder(2 * x - 1)  # (B,8 width,size/32,size/32)
        x = self.decoder(self.everywhere(x))
        return _resize((x + 1) / 2, size)


class Critic(nn.Module):
    """Is it a photograph? Image (B,3,H,W) in [0,1] -> logits (B,). One size, as the generator."""

    def __init__(self, size: int, width: int = 64):
        super().__init__()
        self.size = size
        last = nn.Conv2d(CRITIC[-1] * width, 1, kernel_size=size // FACTOR)
        self.layers = nn.Sequential(*_halvings(CRITIC, width), last, nn.Flatten(0))
        _initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(2 * _resize(image, (self.size, self.size)) - 1)


def _halvings(multiples: tuple[int, ...], width: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    inputs = 3
    for level, multiple in enumerate(multiples):
        channels = multiple * width
        first = level == 0
        layers.append(nn.Conv2d(inputs, channels, 4, stride=2, padding=1, bias=first))
        layers += [nn.LeakyReLU(0.2)] if first else [nn.BatchNorm2d(channels), nn.LeakyReLU(0.2)]
        inputs = channels
    return layers


def _resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    if image.shape[-2:] == size:
        return image
    return F.interpolate(image, size, mode="bilinear", antialias=True)


def _initialise(net: nn.Module) -> None:
    """As the source: DCGAN's small normal weights."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0, 0.02)
