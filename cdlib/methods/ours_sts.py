"""`Ours_STS`: compression, similar texture selection, Eq. 3 (paper sec. 3.2).

What a user can run chooses among valid blocks only. The oracle is the paper's literal form: it
may copy any block of the true image, the part under the hole included.
"""

from collections.abc import Callable

from torch import Tensor

from cdlib.methods import compressor
from cdlib.methods.context import Context
from cdlib.texture import finetune, similar_texture_selection, stretch_valid
from cdlib.thresholds import read_threshold


def load(context: Context) -> Callable[[Tensor, Tensor], Tensor]:
    compress = compressor.load(context)
    threshold = read_threshold(context)

    def fill(image: Tensor, mask: Tensor) -> Tensor:
        output = similar_texture_selection(compress(image, mask), image, mask)
        return finetune(output, stretch_valid(image, mask), threshold)

    return fill


def load_oracle(context: Context) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    compress = compressor.load(context)
    threshold = read_threshold(context)

    def fill(image: Tensor, mask: Tensor, truth: Tensor) -> Tensor:
        output = similar_texture_selection(compress(image, mask), truth)
        return finetune(output, stretch_valid(image, mask), threshold)

    return fill
