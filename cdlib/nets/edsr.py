"""EDSR (Lim et al. 2017, *Enhanced Deep Residual Networks for Single Image Super-Resolution*).

The paper decompresses with two of them, stacked: x2, then x4. No BatchNorm; a long skip around
the residual blocks; sub-pixel upsampling. The source's sizes are 256 features, 32 blocks and
residual scaling 0.1; smaller nets (64 features, 16 blocks: its baseline) do without the scaling.
"""

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + scale * conv(relu(conv(x))): sec. 3.1, Fig. 2c."""

    def __init__(self, features: int, scale: float):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(features, features, 3, padding=1),
        )
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.body(x)


class EDSR(nn.Module):
    """(B,3,h,w) in [0,1] -> (B,3,factor*h,factor*w), about [0,1], not clipped. factor 2 or 4."""

    def __init__(self, factor: int, features: int = 64, blocks: int = 16):
        super().__init__()
        if factor not in (2, 4):
            raise ValueError(f"factor {factor}: EDSR is built for 2 and 4")
        scale = 0.1 if features >= 256 else 1.0
        self.head = nn.Conv2d(3, features, 3, padding=1)
        self.body = nn.Sequential(
            *(ResidualBlock(features, scale) for _ in range(blocks)),
            nn.Conv2d(features, features, 3, padding=1),
        )
        steps: list[nn.Module] = []
        for _ in range(factor // 2):  # x4 is x2 twice
            steps += [nn.Conv2d(features, 4 * features, 3, padding=1), nn.PixelShuffle(2)]
        self.tail = nn.Sequential(*steps, nn.Conv2d(features, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x - 0.5)  # (B,F,h,w), about zero mean
        x = x + self.body(x)
        return self.tail(x) + 0.5  # (B,3,factor*h,factor*w)


class StackedEDSR(nn.Module):
    """x2 then x4: LR (B,3,h,w) in [0,1] -> HR (B,3,8h,8w), and the x2 image between them."""

    def __init__(self, features: int = 64, blocks: int = 16):
        super().__init__()
        self.x2 = EDSR(2, features, blocks)
        self.x4 = EDSR(4, features, blocks)

    def forward(self, lr: Tensor) -> tuple[Tensor, Tensor]:
        middle = self.x2(lr)
        return self.x4(middle), middle
