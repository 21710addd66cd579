"""Airbench94 (Jordan 2024, arXiv:2404.00498) in plain PyTorch: the baseline for the speed of our own training.

    python benchmarks/airbench_in_torch.py --data cifar10.npz --seed 0
    python benchmarks/airbench_in_torch.py --data cifar10.npz --steps 20 --holdout 5000

It is written for a CPU with AMX: activations are channels-last and bfloat16, weights and the whitening are float32, and
freed memory stays with the process. With torch.compile, or with batch norm in float32, a step took a quarter longer.
"""

import argparse
import ctypes
import json
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

BATCH = 1024
PEAK_LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, LABEL_SMOOTHING = 1.5, 0.85, 0.00133, 0.2
BIAS_SCALE = 64  # learning-rate multiplier of batch-norm biases
WHITEN_BIAS_EPOCHS = 3
LOOKAHEAD_EVERY = 5
CROP = 2  # maximum shift in pixels
MEAN, STD = torch.tensor((125.307, 122.950, 113.865)), torch.tensor((62.9932, 62.0887, 66.7048))


def keep_freed_memory():
    """Let glibc reuse large blocks. Otherwise a fifth of a step goes into clearing new pages from the system."""
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(trim_threshold, -1)
        libc.mallopt(mmap_max, 0)


def load(path, holdout):
    """Training and evaluation sets: images (examples, height, width, 3), uint8, and labels (examples,)."""
    with np.load(path) as data:
        x_train, y_train, x_test, y_test = (
            torch.from_numpy(data[key]) for key in ("x_train", "y_train", "x_test", "y_test")
        )
    y_train, y_test = y_train.flatten().long(), y_test.flatten().long()
    if holdout:
        return x_train[:-holdout], y_train[:-holdout], x_train[-holdout:], y_train[-holdout:]
    return x_train, y_train, x_test, y_test


def normalize(images):
    """Normalize uint8 images (examples, height, width, 3) to float32 (examples, 3, height, width), channels-last."""
    return ((images.float() - MEAN) / STD).permute(0, 3, 1, 2)


def reflect(images, pixels):
    """Pad height and width of images (examples, height, width, 3) by reflection."""
    size = images.shape[1]
    place = (size - 1) - ((size - 1) - torch.arange(-pixels, size + pixels).abs()).abs()
    return images[:, place][:, :, place]


def whitening(images, size=2, epsilon=5e-4):
    """Kernel that whitens patches: eigenvectors of their covariance, scaled to unit variance, and their negatives."""
    patches = F.unfold(normalize(images), size).transpose(1, 2).flatten(0, 1)
    variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
    kernel = (directions / (variances + epsilon).sqrt()).T.reshape(-1, 3, size, size)
    return torch.cat([kernel, -kernel])


class Conv(nn.Conv2d):
    """A 3x3 convolution without bias whose first filters are initialized as the identity."""

    def __init__(self, channels, filters):
        super().__init__(channels, filters, 3, padding="same", bias=False)
        nn.init.dirac_(self.weight.data[:channels])


class BatchNorm(nn.BatchNorm2d):
    """Batch norm with a trainable bias and no scale."""

    def __init__(self, channels):
        super().__init__(channels, eps=1e-5, momentum=0.4)
        self.weight.requires_grad_(False)


class Airbench(nn.Module):
    """Network from normalized images (examples, 3, 32, 32) to float32 logits (examples, 10)."""

    def __init__(self, kernel, widths=(64, 256, 256), dtype=torch.bfloat16):
        super().__init__()
        self.dtype = dtype
        self.whiten = nn.Conv2d(3, len(kernel), kernel.shape[2:])
        self.whiten.weight = nn.Parameter(kernel, requires_grad=False)
        nn.init.zeros_(self.whiten.bias)
        layers = [nn.GELU()]
        for channels, width in zip((len(kernel), *widths), widths, strict=False):
            layers += [Conv(channels, width), nn.MaxPool2d(2), BatchNorm(width), nn.GELU()]
            layers += [Conv(width, width), BatchNorm(width), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.MaxPool2d(3), nn.Flatten(), nn.Linear(widths[-1], 10, bias=False))

    def forward(self, images):
        whitened = self.whiten(images).to(self.dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            return self.layers(whitened).float() / 9


class Lookahead:
    """Slow weights toward which the weights of the network, running statistics included, are pulled."""

    def __init__(self, network):
        self.fast = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
        self.slow = [tensor.clone() for tensor in self.fast]

    def pull(self, decay):
        torch._foreach_lerp_(self.slow, self.fast, 1 - decay)
        torch._foreach_copy_(self.fast, self.slow)


def make_optimizer(network):
    """Nesterov SGD. `scale` multiplies the learning rate of a group.

    Batch-norm biases have a group of their own. Its weight decay is divided by `scale`, so that all weights decay
    alike.
    """
    biases = [module.bias for module in network.modules() if isinstance(module, BatchNorm)]
    own = {id(bias) for bias in biases}
    others = [p for p in network.parameters() if p.requires_grad and id(p) not in own]
    groups = [
        {"params": others, "scale": 1, "weight_decay": WEIGHT_DECAY},
        {"params": biases, "scale": BIAS_SCALE, "weight_decay": WEIGHT_DECAY / BIAS_SCALE},
    ]
    return torch.optim.SGD(groups, lr=PEAK_LEARNING_RATE, momentum=MOMENTUM, nesterov=True, fused=True)


def epoch_of_batches(padded, labels, mirrored):
    """Shuffled batches of random crops of padded images; `mirrored` holds a Boolean per image."""
    crops = padded.unfold(1, 32, 1).unfold(2, 32, 1)  # a view: (examples, row, column, 3, 32, 32)
    for own in torch.randperm(len(labels)).split(BATCH)[: len(labels) // BATCH]:
        row, column = torch.randint(2 * CROP + 1, (2, len(own)))
        images = crops[own, row, column].permute(0, 2, 3, 1)
        images = torch.where(mirrored[own, None, None, None], images.flip(2), images)
        yield normalize(images), labels[own]


def train(images, labels, epochs, stop=None):
    """Train a network; return it with the mean loss and the seconds of each epoch, and the number of steps."""
    network = Airbench(whitening(images[:5000])).to(memory_format=torch.channels_last)
    optimizer, lookahead = make_optimizer(network), Lookahead(network)
    padded, mirrored = reflect(images, CROP), torch.rand(len(labels)) < 0.5
    total = epochs * (len(labels) // BATCH)
    losses, seconds, step = [], [], 0
    for epoch in range(epochs):
        start, epoch_losses = time.perf_counter(), []
        network.whiten.bias.requires_grad_(epoch < WHITEN_BIAS_EPOCHS)
        for batch, targets in epoch_of_batches(padded, labels, mirrored):
            learning_rate = PEAK_LEARNING_RATE * np.interp(step / total, (0, 0.23, 1), (0.2, 1, 0.07))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * group["scale"]
            loss = F.cross_entropy(network(batch), targets, label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
            if step % LOOKAHEAD_EVERY == 0:
                lookahead.pull(0.95**LOOKAHEAD_EVERY * (step / total) ** 3)
            epoch_losses.append(loss.detach())
            if step == stop:
                break
        mirrored = ~mirrored
        losses.append(torch.stack(epoch_losses).mean().item())
        seconds.append(time.perf_counter() - start)
        print(f"epoch {epoch}: loss {losses[-1]:.4f}, {seconds[-1]:.1f} s", file=sys.stderr, flush=True)
        if step == stop:
            break
    lookahead.pull(1)
    return network, losses, seconds, step


@torch.inference_mode()
def evaluate(network, images, labels):
    """Accuracy without and with test-time augmentation by mirrored and shifted views."""
    network.eval()
    right = torch.zeros(2)
    for batch, targets in zip(images.split(BATCH), labels.split(BATCH), strict=True):

        def with_mirror(view):
            return network(normalize(view)), network(normalize(view.flip(2)))

        plain, mirror = with_mirror(batch)
        padded = reflect(batch, 1)
        shifted = [*with_mirror(padded[:, :32, :32]), *with_mirror(padded[:, 2:, 2:])]
        together = (plain + mirror) / 4 + sum(shifted) / 8
        right += torch.stack([(logits.argmax(1) == targets).sum() for logits in (plain, together)])
    return (right / len(labels)).tolist()


def main():
    """Train, evaluate and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help=".npz with x_train, y_train, x_test and y_test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--steps", type=int, help="stop after this many steps, to measure time")
    parser.add_argument("--holdout", type=int, default=0, help="training images to evaluate, not the test set")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    x, y, x_test, y_test = load(arguments.data, arguments.holdout)

    start = time.perf_counter()
    network, losses, epoch_seconds, steps = train(x, y, arguments.epochs, arguments.steps)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    accuracy, tta_accuracy = evaluate(network, x_test, y_test)
    report = {
        "seconds": seconds,
        "evaluation_seconds": time.perf_counter() - start,
        "steps": steps,
        "steps_per_second": steps / seconds,
        "images_per_second": steps * BATCH / seconds,
        "accuracy": accuracy,
        "tta_accuracy": tta_accuracy,
        "losses": losses,
        "epoch_seconds": epoch_seconds,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
