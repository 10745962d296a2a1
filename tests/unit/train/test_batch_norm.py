from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from multibox.train.batch_norm import SyncedBatchNorm, synchronise_batch_norm

NUM_PROCESSES = 2
CHANNELS = 3


def norm_layer() -> nn.BatchNorm2d:
    """A layer that is not fresh: nothing about it is 0 or 1."""
    norm = nn.BatchNorm2d(CHANNELS, eps=1e-3, momentum=0.3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.5, -2.0]))
        norm.bias.copy_(torch.tensor([0.1, -0.2, 0.3]))
        norm.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
        norm.running_var.copy_(torch.tensor([4.0, 5.0, 6.0]))
    return norm


def images_and_gradients() -> tuple[Tensor, Tensor]:
    """Four images (the halves of very different size), and the gradient of a loss by the output."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(4, CHANNELS, 5, 7, generator=generator)
    scale = torch.tensor([1.0, 1.0, 3.0, 3.0])[:, None, None, None]
    # The mean of the last channel is far from 0: one pass over squares would lose its variance.
    shift = torch.tensor([0.0, 1.0, 1000.0])[:, None, None]
    return images * scale + shift, torch.randn(4, CHANNELS, 5, 7, generator=generator)


def results_of(norm: nn.Module, images: Tensor, gradients: Tensor) -> dict[str, Tensor]:
    """After two steps: the statistics must also be right when they are not those of the start."""
    for _ in range(2):
        norm.zero_grad()
        x = images.clone().requires_grad_()
        output = norm(x)
        output.backward(gradients)
    return {
        "output": output.detach(),
        "input gradient": x.grad,
        "weight gradient": norm.weight.grad,
        "bias gradient": norm.bias.grad,
        **norm.state_dict(),
    }


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    address = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=NUM_PROCESSES)
    images, gradients = (whole.chunk(NUM_PROCESSES)[rank] for whole in images_and_gradients())
    results = results_of(SyncedBatchNorm.of(norm_layer()), images, gradients)
    # As a network computes them: values of half precision and channels last, statistics of single precision.
    images, gradients = (part.bfloat16().to(memory_format=torch.channels_last) for part in (images, gradients))
    half = results_of(SyncedBatchNorm.of(norm_layer()), images, gradients)
    torch.save({**results, "half": half}, f"{folder}/{rank}.pth")
    # With PyTorch 2.6, one that leaves while the other is still there can wait for ever.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def expected() -> Mapping[str, Tensor]:
    """What the layer of PyTorch gives for all images in one process."""
    return results_of(norm_layer(), *images_and_gradients())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Mapping[str, Tensor]]:
    """What each of two processes has, with half the images each."""
    folder: Path = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(process, args=(str(folder),), nprocs=NUM_PROCESSES)
    return [torch.load(folder / f"{rank}.pth", weights_only=True) for rank in range(NUM_PROCESSES)]


@pytest.fixture(scope="module")
def half_precision(found) -> list[Mapping[str, Tensor]]:
    """The same, of images and gradients in half precision."""
    return [one["half"] for one in found]


@pytest.mark.parametrize("name", ["output", "input gradient"])
def test_processes_with_a_part_of_the_images_have_that_part_of_the_whole(found, expected, name):
    torch.testing.assert_close(torch.cat([one[name] for one in found]), expected[name], rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("name", ["running_mean", "running_var", "num_batches_tracked"])
def test_statistics_of_each_process_are_those_of_the_whole(found, expected, name):
    for one in found:
        torch.testing.assert_close(one[name], expected[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["weight gradient", "bias gradient"])
def test_gradients_of_the_processes_add_up_to_that_of_the_whole(found, expected, name):
    torch.testing.assert_close(sum(one[name] for one in found), expected[name], rtol=1e-4, atol=2e-3)


def test_values_of_half_precision_have_statistics_of_single_precision(half_precision):
    images = images_and_gradients()[0].bfloat16().float()
    mean, variance = images.mean((0, 2, 3)), images.var((0, 2, 3))
    for one in half_precision:
        assert one["output"].dtype == one["input gradient"].dtype == torch.bfloat16
        assert one["running_mean"].dtype == torch.float32
        # Two steps at a momentum of 0.3 leave 0.49 of the values before.
        start = norm_layer()
        torch.testing.assert_close(one["running_mean"], 0.49 * start.running_mean + 0.51 * mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(one["running_var"], 0.49 * start.running_var + 0.51 * variance, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["output", "input gradient"])
def test_half_precision_is_close_to_single(half_precision, expected, name):
    # The last channel's mean of 1000 has steps of 4 there.
    whole = torch.cat([one[name] for one in half_precision]).float()
    torch.testing.assert_close(whole[:, :2], expected[name][:, :2], rtol=0.05, atol=0.05)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1), nn.Sequential(norm_layer(), nn.ReLU()), norm_layer())


def test_every_norm_is_replaced_and_names_and_weights_stay():
    model = network()
    before = model.state_dict()
    parameters = dict(model.named_parameters())
    synced = synchronise_batch_norm(model)
    assert sum(type(module) is SyncedBatchNorm for module in synced.modules()) == 2
    assert not any(type(module) is nn.BatchNorm2d for module in synced.modules())
    assert list(synced.state_dict()) == list(before)
    # The same tensors, so that an optimizer or an average made before still holds them.
    assert all(synced.state_dict()[key].data_ptr() == value.data_ptr() for key, value in before.items())
    assert all(parameters[name] is parameter for name, parameter in synced.named_parameters())


@pytest.mark.parametrize("is_training", [True, False])
def test_a_replaced_norm_is_in_the_mode_of_the_original(is_training):
    synced = SyncedBatchNorm.of(norm_layer().train(is_training))
    assert synced.training == is_training
    assert (synced.eps, synced.momentum) == (1e-3, 0.3)


def test_in_evaluation_one_process_suffices():
    images, _ = images_and_gradients()
    model = network().eval()
    expected = model(images)
    torch.testing.assert_close(synchronise_batch_norm(model)(images), expected)
