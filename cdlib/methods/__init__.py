"""The methods of Table 2, one file each; to add a method is to add one file and one line here.

Every method is called as `(image (B,3,H,W) in [0,1], mask (B,1,H,W), 1 valid) -> (B,3,H,W)`, on
any size divisible by 8, and never sees a pixel under the mask. It returns its raw output over the
whole frame; `cdlib.compose` puts the valid pixels back.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cdlib.data.batches import Batch
from cdlib.masks import check_inputs
from cdlib.methods import (
    bicubic,
    classical,
    compressor,
    context_encoder,
    edge_connect,
    floors,
    gated_conv,
    nearest_image,
    ours_srn,
    ours_sts,
    partial_conv,
    patchmatch,
)
from cdlib.methods.context import Context
from cdlib.recipes import Recipe
from cdlib.runs import Run, resolve
from cdlib.settings import load_profile

Fill = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Method:
    """A name in the tables, where it comes from, and how to make it from a finished run."""

    citation: str
    load: Callable[[Context], Callable[..., Tensor]]
    nets: tuple[str, ...] = ()  # the finished nets that it needs
    oracle: bool = False  # sees the truth, by an explicit argument


METHODS: dict[str, Method] = {
    "Ours_STS": Method("the paper, sec. 3.2; valid blocks only", ours_sts.load, (compressor.NAME,)),
    "Ours_STS_oracle": Method(
        "the paper, Eq. 1-2 as printed: reads the truth",
        ours_sts.load_oracle,
        (compressor.NAME,),
        oracle=True,
    ),
    "Ours_SRN": Method(
        "the paper, sec. 3.2; EDSR (Lim et al. 2017)",
        ours_srn.load,
        (compressor.NAME, ours_srn.NAME),
    ),
    "Ours_bicubic": Method(
        "the compressor's LR image, enlarged: a floor", bicubic.load, (compressor.NAME,)
    ),
    "GatedConv": Method("Yu et al. 2019", gated_conv.load, (gated_conv.NAME,)),
    "PartialConv": Method("Liu et al. 2018", partial_conv.load, (partial_conv.NAME,)),
    "EdgeConnect": Method("Nazeri et al. 2019", edge_connect.load, (edge_connect.NAME,)),
    "EdgeConnect_oracle": Method(
        "Nazeri et al. 2019, with the hole's true edges: reads the truth",
        edge_connect.load_oracle,
        (edge_connect.NAME,),
        oracle=True,
    ),
    "ContextEncoder": Method("Pathak et al. 2016", context_encoder.load, (context_encoder.NAME,)),
    "telea": Method("Telea 2004; OpenCV", classical.load_telea),
    "navier_stokes": Method("Bertalmio et al. 2001; OpenCV", classical.load_navier_stokes),
    "biharmonic": Method("biharmonic equation; scikit-image", classical.load_biharmonic),
    "patchmatch": Method("Barnes et al. 2009; PyPatchMatch", patchmatch.load),
    "nearest_image": Method("the hole of the nearest training image: a floor", nearest_image.load),
    "mean": Method("mean valid colour: a floor", floors.load_mean),
    "masked": Method("the hole left black: a floor", floors.load_masked),
    "stretch": Method("the valid part stretched over the frame: a floor", floors.load_stretch),
}

# The nets that are trained, in an order in which each finds what it needs.
RECIPES: dict[str, Callable[[Context], Recipe]] = {
    compressor.NAME: lambda context: compressor.recipe(context.profile),
    ours_srn.NAME: ours_srn.recipe,
    gated_conv.NAME: lambda context: gated_conv.recipe(context.profile),
    partial_conv.NAME: lambda context: partial_conv.recipe(context.profile),
    edge_connect.NAME: lambda context: edge_connect.recipe(context.profile),
    context_encoder.NAME: lambda context: context_encoder.recipe(context.profile),
}


def rivals_of(methods: Iterable[str]) -> list[str]:
    """The nets, in the order of `RECIPES`, that the named methods need beside the paper's own."""
    needed = {net for method in methods for net in METHODS[method].nets}
    return [net for net in RECIPES if net in needed - {compressor.NAME, ours_srn.NAME}]


def finished_methods(methods: Iterable[str], context: Context) -> list[str]:
    """The named methods; if the profile allows no training, those whose nets are finished."""

    def is_finished(method: str) -> bool:
        nets = METHODS[method].nets
        return all(context.run.net(context.dataset, net).exists() for net in nets)

    allowed = context.profile.train.allowed
    return [method for method in methods if allowed or is_finished(method)]


def load_method(name: str, results_dir: Path | str, dataset: str) -> Callable[..., Tensor]:
    """A method of a finished run, trained on `dataset`: (image, mask) -> image.

    Args:
        name: a key of `METHODS`.
        results_dir: the run's folder, `results/<profile>`.
        dataset: its name in the tables, or its role, `scenes` or `faces`.

    Raises:
        ValueError: an unknown name or data set, or a net that is not there or does not fit.
        FileNotFoundError: `results_dir` is not the folder of a run.
    """
    if name not in METHODS:
        raise ValueError(f"method {name!r}: one of {', '.join(METHODS)}")
    run = Run(resolve(results_dir))
    if not run.profile_file.is_file():
        raise FileNotFoundError(
            f"{run.folder} is not the folder of a run (results/<profile>): no profile.yaml in it"
        )
    profile = load_profile(run.profile_file)
    return open_method(name, Context(profile, run, profile.dataset(dataset).name))


def open_method(name: str, context: Context) -> Callable[..., Tensor]:
    """`load_method` for a run that is open already."""
    fill = METHODS[name].load(context)
    return _with_truth(fill, name) if METHODS[name].oracle else _blind(fill)


def open_for_scoring(name: str, context: Context) -> Callable[[Batch], Tensor]:
    """A method as the study asks it: on a batch, whose true images an oracle is given."""
    method = open_method(name, context)
    if METHODS[name].oracle:
        return lambda batch: method(batch.image, batch.mask, truth=batch.image)
    return lambda batch: method(batch.image, batch.mask)


def _blind(fill: Fill) -> Fill:
    """The door: inputs checked, and the hole blacked out before the method looks."""

    @torch.no_grad()
    def method(image: Tensor, mask: Tensor) -> Tensor:
        check_inputs(image, mask)
        return fill(torch.where(mask > 0, image, 0), mask)

    return method


def _with_truth(
    fill: Callable[[Tensor, Tensor, Tensor], Tensor], name: str
) -> Callable[..., Tensor]:
    @torch.no_grad()
    def method(image: Tensor, mask: Tensor, truth: Tensor | None = None) -> Tensor:
        check_inputs(image, mask)
        if truth is None:
            raise ValueError(f"{name} reads the true image: give it as `truth`")
        return fill(torch.where(mask > 0, image, 0), mask, truth)

    return method
