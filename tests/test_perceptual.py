import pytest
import torch

from cdlib.perceptual import Features, gram, perceptual_loss, style_loss


@pytest.fixture(scope="module")
def features():
    return Features("small")


def test_features_halve_the_size_and_are_frozen(features):
    seen = features(torch.rand(1, 3, 64, 96))
    assert [tuple(f.shape[-2:]) for f in seen] == [(32, 48), (16, 24), (8, 12)]
    assert not any(p.requires_grad for p in features.parameters())
    assert not any(module.training for module in features.modules())


def test_features_are_of_an_imagenet_network_and_of_order_one(features):
    again = Features("tf_efficientnet_lite0")
    image = torch.rand(1, 3, 64, 64)
    for one, other in zip(features(image), again(image), strict=True):
        assert torch.equal(one, other)
        assert 0.1 < one.square().mean().sqrt() < 10


def test_distances_are_0_of_an_image_to_itself_and_their_gradient_reaches_it(features):
    truth = torch.rand(2, 3, 32, 32)
    image = truth.clone().requires_grad_()
    noisy = features(image + 0.1 * torch.randn_like(truth))
    wanted = features(truth)
    for distance in (perceptual_loss, style_loss):
        assert distance(wanted, wanted) == 0
        loss = distance(noisy, wanted)
        assert loss > 0
        (gradient,) = torch.autograd.grad(loss, image, retain_graph=True)
        assert gradient.abs().max() > 0


def test_distances_by_hand():
    ones, zeros = torch.ones(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    assert perceptual_loss([ones, 3 * ones], [zeros, ones]) == 1 + 2
    # every product of channels sums to 4 over the places; 4 / (2 channels x 4 places)
    torch.testing.assert_close(gram(ones), torch.full((1, 2, 2), 0.5))
    assert style_loss([ones, 2 * ones], [zeros, zeros]) == 0.5 + 2


def test_gram_is_products_averaged():
    x = torch.randn(2, 3, 4, 5)
    expected = torch.zeros(2, 3, 3)
    for b in range(2):
        for i in range(3):
            for j in range(3):
                expected[b, i, j] = (x[b, i] * x[b, j]).sum() / (3 * 4 * 5)
    torch.testing.assert_close(gram(x), expected)


def test_style_does_not_depend_on_place(features):
    x = [torch.randn(1, 3, 4, 4)]
    moved = [x[0].roll(1, dims=3)]
    torch.testing.assert_close(style_loss(moved, x), torch.tensor(0.0))
    assert perceptual_loss(moved, x) > 0.1


def test_missing_vgg_weights_are_said_in_one_line(monkeypatch, tmp_path):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(
        FileNotFoundError, match=r"vgg16: no network; download https.*judge.network"
    ):
        Features("vgg16_bn")
