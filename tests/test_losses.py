import pytest
import torch

from cdlib.losses import hinge_discriminator, hinge_generator, variation


def test_hinge_losses_by_hand():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    # relu(1 - real) = 0, 0.5; relu(1 + fake) = 0, 1
    assert hinge_discriminator(real, fake).item() == pytest.approx(0.5 * (0.25 + 0.5))
    assert hinge_generator(fake).item() == pytest.approx(1.5)


def test_variation_by_hand():
    image = torch.tensor([[0.0, 1.0], [0.0, 0.5]]).view(1, 1, 2, 2)
    # down: |0-0|, |0.5-1|; across: |1-0|, |0.5-0|
    assert variation(image, "total").item() == pytest.approx(0.25 + 0.75)


def test_both_forms_vanish_on_a_flat_image_and_grow_with_noise():
    flat = torch.full((1, 3, 8, 8), 0.4)
    noise = flat + 0.1 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(0))
    for form in ("total", "variance"):
        assert variation(flat, form).item() == pytest.approx(0, abs=1e-6)
        assert variation(noise, form) > 1e-3


def test_variance_form_is_the_mean_variance_of_3x3_windows():
    image = torch.rand(1, 2, 6, 5)
    windows = image.unfold(2, 3, 1).unfold(3, 3, 1).flatten(-2)
    expected = windows.var(-1, unbiased=False).mean()
    torch.testing.assert_close(variation(image, "variance"), expected)
