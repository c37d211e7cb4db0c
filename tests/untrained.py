"""Nets as they are before training, saved as if they were finished: enough to call a method."""

import torch

from cdlib.checkpoints import save_net
from cdlib.methods import RECIPES
from cdlib.recipes import Recipe
from cdlib.runs import write_json
from cdlib.workspace import Workspace


def save_untrained(workspace: Workspace, dataset: str) -> None:
    context = workspace.context(dataset)
    for recipe in recipes(workspace, dataset):
        torch.manual_seed(0)
        nets = recipe.build()
        about = {"net": recipe.name, "fingerprint": "untrained"}
        about |= {"images_seen": 320, "seconds": 4.0, "gmac": 1.5}
        path = workspace.run.net(context.dataset, recipe.name)
        save_net(path, recipe.kept_weights(nets), about)
    write_json(workspace.run.checkpoints(context.dataset) / "threshold.json", {"threshold": 0.1})


def recipes(workspace: Workspace, dataset: str) -> list[Recipe]:
    context = workspace.context(dataset)
    return [recipe(context) for recipe in RECIPES.values()]
