"""What the machine can do at most: a large matrix product, and the best convolution of Table 1."""

import copy
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from cdlib.bench.measuring import Options, interleaved
from cdlib.costs import macs
from cdlib.nets.compression import CompressionNetwork

SIDE = 2048  # of the matrices
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def instructions(options: Options) -> dict[str, Any]:
    """The instruction set that torch computes with, and the threads that it was given."""
    capability = torch.backends.cpu.get_cpu_capability()
    return {"instruction_set": capability, "threads": options.threads}


@torch.no_grad()
def measure(options: Options) -> dict[str, Any]:
    """GFLOP/s, a multiply-add as two: the matrix product, every convolution, the best of all.

    Convolutions: forward, each distinct layer of Table 1 at this size, width and batch, plain, in
    contiguous and in channels_last memory.
    """
    generator = torch.Generator().manual_seed(0)
    matrix = torch.rand(SIDE, SIDE, generator=generator)
    calls: dict[str, Callable[[], Tensor]] = {"matmul": lambda: matrix @ matrix}
    flops, rows = {"matmul": 2 * SIDE**3}, {}
    for name, (layer, shape) in _layers(options).items():
        x = torch.rand(shape, generator=generator)
        for layout, memory in LAYOUTS.items():
            key = f"{name}, {layout}"
            calls[key] = _call(layer, x, memory)
            flops[key] = 2 * macs(layer, x)
            rows[key] = {"layer": name, "layout": layout}
    seconds = interleaved(calls, options)
    speed = {key: flops[key] / median(values) / 1e9 for key, values in seconds.items()}
    convolutions = [row | {"gflops": speed[key]} for key, row in rows.items()]
    return {
        "matmul": {"side": SIDE, "gflops": speed["matmul"]},
        "best_convolution": max(convolutions, key=lambda row: row["gflops"]),
        "convolutions": convolutions,
        "gflops": max(speed.values()),
    }


def _call(layer: nn.Module, x: Tensor, memory: torch.memory_format) -> Callable[[], Tensor]:
    own, x = copy.deepcopy(layer).to(memory_format=memory), x.contiguous(memory_format=memory)
    return lambda: own(x)


def _layers(options: Options) -> dict[str, tuple[nn.Conv2d, torch.Size]]:
    """The distinct convolutions of Table 1, each with the shape of its input."""
    found: dict[str, tuple[nn.Conv2d, torch.Size]] = {}

    def note(layer: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> None:
        kernel, channels = layer.kernel_size[0], f"{layer.in_channels} to {layer.out_channels}"
        sides = f"{inputs[0].shape[-1]} to {output.shape[-1]} px"
        name = f"{kernel}x{kernel}, {channels} channels, {sides}"
        found.setdefault(name, (layer, inputs[0].shape))

    net = CompressionNetwork(options.width).eval()
    layers = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    image = torch.zeros(options.batch, 3, options.size, options.size)
    net(image, torch.ones_like(image[:, :1]))
    for hook in hooks:
        hook.remove()
    return found
