"""The measures of Table 2 against slow versions, hand-computed answers, and refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import structural_similarity
from torch import Tensor

from cdlib.masks import edge_mask, irregular_mask
from cdlib.metrics import crop_to_hole, l1, l2, psnr, similar, similarity_ratio, ssim


def random_pair(count: int = 3, size: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.rand(2, count, 3, size, size, generator=generator))


def masks(count: int = 3, size: int = 24) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.stack([irregular_mask(size, size, generator=generator) for _ in range(count)])


def slow_mean(error: np.ndarray, hole: np.ndarray) -> float:
    """Mean of (3,H,W) over the pixels where `hole` (H,W) is true, pixel by pixel."""
    height, width = hole.shape
    pixels = [(y, x) for y in range(height) for x in range(width) if hole[y, x]]
    return float(np.mean([error[c, y, x] for c in range(3) for y, x in pixels]))


@pytest.mark.parametrize("masked", [False, True])
def test_l1_l2_psnr_are_the_slow_ones(masked):
    output, truth = random_pair()
    mask = masks() if masked else None
    for i in range(len(output)):
        hole = mask[i, 0].numpy() == 0 if masked else np.ones((24, 24), dtype=bool)
        error = (output[i] - truth[i]).double().numpy()
        squared = slow_mean(error**2, hole)
        assert l1(output, truth, mask)[i] == pytest.approx(slow_mean(abs(error), hole), rel=1e-5)
        assert l2(output, truth, mask)[i] == pytest.approx(squared, rel=1e-5)
        assert psnr(output, truth, mask)[i] == pytest.approx(10 * np.log10(1 / squared), rel=1e-5)


def test_a_masked_measure_does_not_look_at_valid_pixels():
    output, truth = random_pair()
    mask = masks()
    other = torch.where(mask > 0, torch.rand_like(output), output)
    for measure in (l1, l2, psnr):
        assert torch.equal(measure(output, truth, mask), measure(other, truth, mask))


def test_psnr_of_a_known_difference_and_of_equal_images():
    truth = torch.full((2, 3, 16, 16), 0.5)
    assert psnr(truth + 0.1, truth) == pytest.approx([20, 20], abs=1e-4)
    assert psnr(truth, truth).tolist() == [100, 100]
    assert psnr(truth + 1e-7, truth).tolist() == [100, 100]


@pytest.mark.parametrize("count", [1, 3])
def test_ssim_is_scikit_image_s(count):
    output, truth = random_pair(count)
    output = 0.7 * truth + 0.3 * output
    ours = ssim(output, truth)
    assert ours.shape == (count,)
    for i in range(count):
        # scikit-image leaves the window's half width out at each side: reflect the frame there
        frames = [
            np.pad(x[i].double(), [(0, 0), (5, 5), (5, 5)], "reflect") for x in (output, truth)
        ]
        expected = structural_similarity(
            *frames,
            channel_axis=0,
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert ours[i] == pytest.approx(expected, abs=1e-4)
    assert ssim(truth, truth) == pytest.approx([1] * count)


def test_images_that_do_not_fit_are_refused():
    output, truth = random_pair()
    for measure in (l1, l2, psnr, ssim):
        with pytest.raises(ValueError, match=r"must be the same \(B,3,H,W\)"):
            measure(output, truth[:2])
        with pytest.raises(ValueError, match=r"must be the same \(B,3,H,W\)"):
            measure(output[:, :1], truth[:, :1])
    with pytest.raises(ValueError, match="window needs 11x11"):
        ssim(output[..., :10], truth[..., :10])


def test_masks_that_do_not_fit_are_refused():
    output, truth = random_pair()
    with pytest.raises(ValueError, match=r"expected \(3, 1, 24, 24\)"):
        l1(output, truth, masks(1))
    full = masks()
    full[1] = 1
    with pytest.raises(ValueError, match="no missing pixel"):
        l2(output, truth, full)
    with pytest.raises(ValueError, match="no missing pixel"):
        crop_to_hole(output, full, 8)


def slow_similar(output: np.ndarray, truth: np.ndarray, k: int) -> list[bool]:
    """Eq. 4's term with classes ranked by falling logit, then by rising index."""

    def ranked(row: np.ndarray) -> list[int]:
        return sorted(range(len(row)), key=lambda c: (-row[c], c))

    return [ranked(o)[0] in ranked(t)[:k] for o, t in zip(output, truth, strict=True)]


# Few distinct values, so that ties are common.
LOGITS = arrays(np.float32, (2, 4, 5), elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0]))


@given(logits=LOGITS, k=st.integers(1, 5))
def test_similar_is_the_slow_one_with_ties(logits, k):
    output, truth = logits
    expected = slow_similar(output, truth, k)
    assert similar(torch.from_numpy(output), torch.from_numpy(truth), k).tolist() == expected
    ratio = similarity_ratio(torch.from_numpy(output), torch.from_numpy(truth), k)
    assert ratio == pytest.approx(sum(expected) / len(expected))


@given(logits=LOGITS)
def test_similarity_ratio_grows_with_k_to_one(logits):
    output, truth = map(torch.from_numpy, logits)
    ratios = [similarity_ratio(output, truth, k) for k in range(1, 6)]
    assert ratios == sorted(ratios)
    assert ratios[-1] == 1
    assert similarity_ratio(truth, truth) == 1


def test_similarity_ratio_by_hand():
    output = torch.tensor([[3.0, 1, 2], [0, 5, 1], [1, 1, 0], [0, 0, 9]])
    truth = torch.tensor([[9.0, 0, 0], [2, 1, 0], [0, 4, 4], [1, 1, 1]])
    # firsts: 0, 1, 0 (tie), 2; ranks in the truth: 1st, 2nd, 3rd, 3rd (tie)
    assert [similarity_ratio(output, truth, k) for k in (1, 2, 3)] == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("k", [0, 4, -1, 1.5])
def test_similarity_refuses_a_bad_k(k):
    with pytest.raises(ValueError, match="from 1 to 3"):
        similarity_ratio(torch.zeros(2, 3), torch.zeros(2, 3), k)


def test_similarity_refuses_broken_logits():
    good = torch.zeros(2, 3)
    for other in (torch.zeros(3, 3), torch.zeros(2, 4), torch.zeros(2, 3, 1)):
        with pytest.raises(ValueError, match="must be the same"):
            similarity_ratio(good, other)
    with pytest.raises(ValueError, match="no image"):
        similarity_ratio(good[:0], good[:0])
    for value in (torch.nan, torch.inf, -torch.inf):
        broken = good.clone()
        broken[1, 2] = value
        for pair in ((good, broken), (broken, good)):
            with pytest.raises(ValueError, match="NaN or infinite"):
                similarity_ratio(*pair)


def test_crop_to_hole_takes_each_image_s_own_box():
    image = torch.rand(4, 3, 40, 40)
    sides = ["left", "top", "left", "bottom"]
    mask = torch.stack([edge_mask(40, 40, side, 0.5) for side in sides])
    crops = crop_to_hole(image, mask, 20)
    assert crops.shape == (4, 3, 20, 20)
    # a strip of 20 pixels keeps its short side, and its long side is halved
    expected = torch.nn.functional.interpolate(image[1:2, :, :20], (20, 20), mode="area")
    assert crops[1].mean() == pytest.approx(expected.mean().item(), abs=1e-3)
    alone = [crop_to_hole(image[i : i + 1], mask[i : i + 1], 20) for i in range(4)]
    assert torch.equal(crops, torch.cat(alone))


def test_crop_to_hole_is_exact_where_nothing_is_resized():
    image = torch.rand(2, 3, 32, 32)
    mask = torch.ones(2, 1, 32, 32)
    mask[0, :, 5:13, 7:15] = 0
    mask[1, :, 24, 24] = mask[1, :, 31, 31] = 0  # two pixels that span the box
    crops = crop_to_hole(image, mask, 8)
    torch.testing.assert_close(crops[0], image[0, :, 5:13, 7:15])
    torch.testing.assert_close(crops[1], image[1, :, 24:, 24:])
