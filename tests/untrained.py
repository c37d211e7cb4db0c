"""Nets as they are before training, saved as if they were finished: enough to call a method."""

import torch

from cdlib.checkpoints import save_net
from cdlib.methods import RECIPES
from cdlib.recipes import Recipe
from cdlib.runs import write_json
from cdlib.workspace import Workspace


def save_untrained(workspace: Workspace, dataset: str) -> None:
    context = workspace.context(dataset)
    folder = workspace.run.checkpoints(context.dataset)
    for recipe in recipes(workspace, dataset):
        torch.manual_seed(0)
        nets = recipe.build()
        weights = {
            f"{name}.{key}": tensor
            for name in recipe.kept
            for key, tensor in nets[name].state_dict().items()
        }
        about = {"net": recipe.name, "fingerprint": "untrained"}
        about |= {"images_seen": 320, "seconds": 4.0, "gmac": 1.5}
        save_net(folder / f"{recipe.name}.safetensors", weights, about)
    write_json(folder / "threshold.json", {"threshold": 0.1})


def recipes(workspace: Workspace, dataset: str) -> list[Recipe]:
    context = workspace.context(dataset)
    return [recipe(context) for recipe in RECIPES.values()]
