"""Fabric for the processes of a training: one here, or those that torchrun has started."""

import os

from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import nn

from cdlib.settings import ConfigurationError, Profile


class Replicas(DDPStrategy):
    """Fabric's DDP less torch's wrapper around each net; the loop averages the gradients itself.

    The wrapper averages while a backward pass runs, and expects each parameter of a net in it once.
    Here a pass computes the gradients of some nets only (`inputs=`), one forward pass of a critic
    serves two losses, and a later phase freezes some BatchNorms or whole nets.
    """

    def setup_module(self, module: nn.Module) -> nn.Module:
        return module


def launch(profile: Profile) -> Fabric:
    """Device, precision and processes; torchrun and `fabric run` say how many processes there are.

    Raises:
        ConfigurationError: the processes are not those that the profile asks for, or cannot share
            its batches equally.
    """
    world = int(os.environ.get("WORLD_SIZE", 1))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    _check(profile, world)
    fabric = Fabric(
        accelerator=profile.device,
        strategy=Replicas() if world > 1 else "auto",
        devices=here,
        num_nodes=world // here,
        precision=profile.precision,
    )
    if "LT_CLI_USED" not in os.environ:  # `fabric run` has launched it already
        fabric.launch()
    return fabric


def _check(profile: Profile, world: int) -> None:
    size, devices = profile.train.batch_size, profile.devices
    if world == 1 and devices > 1:
        raise ConfigurationError(
            f"devices = {devices}: this is one process; train with torchrun --nproc-per-node "
            f"{devices} -m cdlib.train --profile {profile.name} --method NAME --dataset NAME"
        )
    if size % world:
        raise ConfigurationError(
            f"train.batch_size = {size}: {world} processes cannot share it equally; set it to a "
            f"multiple of {world}, e.g. --set train.batch_size={world * (size // world + 1)}"
        )
