"""What a network costs: parameters and multiply-accumulates, measured on the live network."""

from collections.abc import Callable

import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cdlib.nets.compression import CompressionNetwork

# What is known of the paper's network at full width and 256 px, to hold ours against.
PAPER_TOTALS = {"parameters": 18.07e6, "macs": 56.9e9}


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@torch.no_grad()
def macs(net: Callable[..., object], *inputs: object) -> int:
    """Multiply-accumulates of one call, convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        net(*inputs)
    return counter.get_total_flops() // 2


def table1(width: float, size: int) -> pd.DataFrame:
    """Table 1 from a live network: each layer's live geometry, output, parameters and MACs.

    Columns `block, layer, kernel, channels, stride` as `CompressionNetwork.table()` prints them,
    then `live_channels, output, parameters, macs`, measured in one forward pass of a
    size x size image.
    """
    net = CompressionNetwork(width).eval()
    layers = [m for block in net.blocks for m in (block.first, block.second, block.shortcut)]
    layers.append(net.mapping)
    rows: list[dict] = []

    def measure(layer: nn.Module, _: tuple, output: torch.Tensor) -> None:
        convolutions = [m for m in layer.modules() if isinstance(m, nn.Conv2d)]
        channels, height, side = output.shape[1:]
        weights = sum(conv.weight.numel() for conv in convolutions)
        rows.append(
            {
                "live_channels": channels,
                "output": f"{height}x{side}",
                "parameters": parameters(layer),
                "macs": weights * height * side,
            }
        )

    hooks = [layer.register_forward_hook(measure) for layer in layers]
    with torch.no_grad():
        net(torch.zeros(1, 3, size, size), torch.ones(1, 1, size, size))
    for hook in hooks:
        hook.remove()
    return pd.concat([CompressionNetwork.table(), pd.DataFrame(rows)], axis=1)


def totals(table: pd.DataFrame) -> pd.DataFrame:
    """The sums of `table1` beside what is known of the paper's: columns `quantity, ours, paper`."""
    quantities = list(PAPER_TOTALS)
    return pd.DataFrame(
        {
            "quantity": quantities,
            "ours": [table[q].sum() for q in quantities],
            "paper": [PAPER_TOTALS[q] for q in quantities],
        }
    )
