"""`EdgeConnect` (Nazeri et al. 2019): edges of the hole are guessed first, then it is coloured in.

Three phases: the edge model; the inpainting model on true edges; the same on the edges that the
first, now frozen, predicts. What differs from the source: the edges that a network sees of a
masked image are Canny's of that masked image, in training as at test, never the true image's.
Losses and weights: sec. 3.1 and 3.2; perceptual and style features: `cdlib.perceptual`.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from skimage import feature
from torch import Tensor, nn
from torchvision.transforms.functional import rgb_to_grayscale

from cdlib.checkpoints import load_net
from cdlib.data.batches import Batch
from cdlib.masks import compose
from cdlib.methods import peers
from cdlib.methods.context import Context
from cdlib.nets.edge_connect import EdgeGenerator, InpaintingGenerator, PatchCritic
from cdlib.perceptual import Features, perceptual_loss, style_loss
from cdlib.recipes import Losses, Measurements, Nets, Optimiser, Phase, Recipe
from cdlib.settings import Profile
from cdlib.synchronised import mean_over_processes

NAME = "edge_connect"
SIGMA = 2.0  # of Canny's smoothing, in pixels
MATCHING = 10.0  # weight of the edge model's feature matching, beside an adversarial 1
WEIGHTS = {"l1": 1.0, "adversarial": 0.1, "perceptual": 0.1, "style": 250.0}  # of inpainting
RATES = {  # share of the profile's learning rate
    "edge_generator": 1.0,
    "edge_critic": 0.1,
    "inpainting_generator": 1.0,
    "inpainting_critic": 0.1,
}


def canny(grey: Tensor, valid: Tensor | None = None) -> Tensor:
    """Canny's edges (0 or 1) of grey images in [0,1], (B,1,H,W) -> (B,1,H,W).

    With `valid`, (B,1,H,W), pixels that are missing have no influence and the hole's rim is no
    edge: smoothing weighs valid pixels only, and edges that touch the hole are dropped.
    """
    images = grey.squeeze(1).cpu().numpy()
    masks = [None] * len(images) if valid is None else valid.squeeze(1).cpu().numpy() > 0
    edges = [feature.canny(i, SIGMA, mask=m) for i, m in zip(images, masks, strict=True)]
    return torch.from_numpy(np.stack(edges)).unsqueeze(1).to(grey)


def predict_edges(net: nn.Module, image: Tensor, mask: Tensor) -> Tensor:
    """Edges (B,1,H,W) of a masked image: Canny's where it is valid, the net's in the hole."""
    grey = rgb_to_grayscale(image)
    known = canny(grey, mask)
    return compose(net(grey, known, mask), known, mask)


def recipe(profile: Profile) -> Recipe:
    settings = profile.peers.edge_connect

    @cache
    def features() -> Features:
        """On first use: VGG16's weights may have to be downloaded."""
        return Features(profile.judge.network)

    def true_edge_step(nets: Nets, batch: Batch) -> tuple[Losses, Measurements]:
        return inpainting_step(nets, batch, canny(rgb_to_grayscale(batch.image)))

    def predicted_edge_step(nets: Nets, batch: Batch) -> tuple[Losses, Measurements]:
        with torch.no_grad():
            edges = predict_edges(nets["edge_generator"], batch.masked, batch.mask)
        return inpainting_step(nets, batch, edges)

    def inpainting_step(nets: Nets, batch: Batch, edges: Tensor) -> tuple[Losses, Measurements]:
        output = nets["inpainting_generator"](batch.masked, edges, batch.mask)
        scores = nets["inpainting_critic"](torch.cat([batch.image, output]))[-1]
        real, fake = scores.chunk(2)
        look = features().to(output.device)
        seen, wanted = look(output), look(batch.image)
        parts = {
            "l1": F.l1_loss(output, batch.image) / mean_over_processes((1 - batch.mask).mean()),
            "adversarial": _as_real(fake),
            "perceptual": perceptual_loss(seen, wanted),
            "style": style_loss(seen, wanted),
        }
        losses = {
            "inpainting_critic": _critic_loss(real, fake),
            "inpainting_generator": sum(WEIGHTS[name] * part for name, part in parts.items()),
        }
        return losses, {name: part.detach() for name, part in parts.items()}

    def build() -> dict[str, nn.Module]:
        width = settings.width
        return {
            "edge_generator": EdgeGenerator(width),
            "edge_critic": PatchCritic(2, width),
            "inpainting_generator": InpaintingGenerator(width),
            "inpainting_critic": PatchCritic(3, width),
        }

    return Recipe(
        name=NAME,
        build=build,
        optimisers={
            net: Optimiser((net,), rate * settings.learning_rate, betas=(0.0, 0.9))
            for net, rate in RATES.items()
        },
        phases=(
            Phase("edges", _edge_step),
            Phase("inpainting, true edges", true_edge_step),
            Phase("inpainting, predicted edges", predicted_edge_step, prepare=_freeze_edges),
        ),
        kept=("edge_generator", "inpainting_generator"),
        validate=_validate,
        best_by=peers.BEST_BY,
        preview=_preview,
        settings=settings.model_dump() | {"features": profile.judge.network},
    )


def _edge_step(nets: Nets, batch: Batch) -> tuple[Losses, Measurements]:
    grey, seen = rgb_to_grayscale(batch.image), rgb_to_grayscale(batch.masked)
    truth = canny(grey)
    output = nets["edge_generator"](seen, canny(seen, batch.mask), batch.mask)
    pair = torch.cat([torch.cat([grey, edges], dim=1) for edges in (truth, output)])
    maps = [m.chunk(2) for m in nets["edge_critic"](pair)]  # (real, fake) by layer
    matching = sum(F.l1_loss(fake, real.detach()) for real, fake in maps)
    real, fake = maps[-1]
    losses = {
        "edge_critic": _critic_loss(real, fake),
        "edge_generator": _as_real(fake) + MATCHING * matching,
    }
    return losses, {"matching": matching.detach(), "edge_l1": F.l1_loss(output.detach(), truth)}


def _freeze_edges(nets: Nets) -> None:
    nets["edge_generator"].eval()  # stops the power iteration of its spectral norms too


def _validate(nets: Nets, batch: Batch) -> dict[str, Tensor]:
    edges, output = _complete(nets, batch)
    truth = canny(rgb_to_grayscale(batch.image))
    edge_l1 = (edges - truth).abs().mean(dim=(1, 2, 3))
    return peers.measure(output, batch) | {"edge_l1": edge_l1}


def _preview(nets: Nets, batch: Batch) -> Tensor:
    """Columns: masked input, predicted edges, output, truth; a row an image."""
    edges, output = _complete(nets, batch)
    columns = [batch.masked, edges.expand_as(output), output, batch.image]
    return torch.stack(columns, dim=1).flatten(0, 1)


def _complete(nets: Nets, batch: Batch) -> tuple[Tensor, Tensor]:
    edges = predict_edges(nets["edge_generator"], batch.masked, batch.mask)
    return edges, nets["inpainting_generator"](batch.masked, edges, batch.mask)


def load(context: Context) -> Callable[[Tensor, Tensor], Tensor]:
    edge_generator, inpaint = _load_nets(context)

    def fill(image: Tensor, mask: Tensor) -> Tensor:
        return inpaint(image, predict_edges(edge_generator, image, mask), mask)

    return fill


def load_oracle(context: Context) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """As `load`, with the true image's edges in the hole: what a perfect edge model would give."""
    _, inpaint = _load_nets(context)

    def fill(image: Tensor, mask: Tensor, truth: Tensor) -> Tensor:
        known = canny(rgb_to_grayscale(image), mask)
        return inpaint(image, compose(canny(rgb_to_grayscale(truth)), known, mask), mask)

    return fill


def _load_nets(context: Context) -> tuple[EdgeGenerator, InpaintingGenerator]:
    width = context.profile.peers.edge_connect.width
    path = context.run.net(context.dataset, NAME)
    edge_generator, inpainting_generator = EdgeGenerator(width), InpaintingGenerator(width)
    load_net(path, edge_generator, "edge_generator")
    load_net(path, inpainting_generator, "inpainting_generator")
    return edge_generator.eval(), inpainting_generator.eval()


def _as_real(score: Tensor) -> Tensor:
    """The non-saturating GAN loss (Goodfellow et al. 2014) of logits that should say "real"."""
    return F.softplus(-score).mean()


def _critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    return 0.5 * (_as_real(real) + F.softplus(fake).mean())
