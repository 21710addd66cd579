"""Translation of a network of the zoo to plain PyTorch, for comparisons of speed."""

import math


def translate(model, weights):
    """Translate a functional Keras network to a torch.nn.Module from uint8 images (batch, height, width, 3) to logits.

    Each layer of the graph becomes a plain PyTorch layer.

    Args:
        model: The Keras network.
        weights: A dict from layer names to lists of NumPy arrays.
    """
    import torch
    from keras import layers
    from torch import nn

    from cifar_zoo import layers as zoo

    def conv(layer, kernel, bias=None):
        depthwise = isinstance(layer, zoo.DepthwiseConv2D)
        if depthwise:  # (height, width, channels, multiplier): one group a channel
            kernel = kernel.reshape(*kernel.shape[:2], 1, -1)
        channels = layer.input.shape[-1]
        module = nn.Conv2d(
            channels,
            kernel.shape[3],
            kernel.shape[:2],
            layer.strides,
            dilation=layer.dilation_rate,
            groups=channels // kernel.shape[2],
            bias=bias is not None,
        )
        module.weight.data = torch.tensor(kernel).permute(3, 2, 0, 1).contiguous()
        if bias is not None:
            module.bias.data = torch.tensor(bias)
        padding = same_padding(layer, module.kernel_size, module.dilation)
        if all(before == after for before, after in padding):
            module.padding = tuple(before for before, _ in padding)
            return activated(layer, module)
        (top, bottom), (left, right) = padding
        return activated(layer, nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), module))

    def same_padding(layer, size, dilation=(1, 1)):
        """Padding as `((top, bottom), (left, right))`, as TensorFlow pads."""
        if layer.padding == "valid":
            return (0, 0), (0, 0)
        totals = [
            max((math.ceil(length / stride) - 1) * stride + (extent - 1) * step + 1 - length, 0)
            for length, stride, extent, step in zip(layer.input.shape[1:3], layer.strides, size, dilation, strict=True)
        ]
        return tuple((total // 2, total - total // 2) for total in totals)

    def activated(layer, module):
        activation = activate(layer)
        return module if isinstance(activation, nn.Identity) else nn.Sequential(module, activation)

    def activate(layer, *_):
        name = getattr(layer.activation, "__name__", "")
        if name not in activations:
            raise SystemExit(f"{layer.name}: no translation of the activation {name!r}")
        return activations[name]()

    activations = {
        "linear": nn.Identity,
        "relu": lambda: nn.ReLU(inplace=True),
        "relu6": nn.ReLU6,
        "silu": nn.SiLU,
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "hard_sigmoid": nn.Hardsigmoid,
        "hard_silu": nn.Hardswish,
    }

    def relu(layer):
        if layer.max_value is not None or layer.negative_slope or layer.threshold:
            raise SystemExit(f"{layer.name}: only the plain ReLU is translated")
        return nn.ReLU(inplace=True)

    def dense(layer, kernel, bias=None):
        module = nn.Linear(*kernel.shape, bias=bias is not None)
        module.weight.data = torch.tensor(kernel.T.copy())
        if bias is not None:
            module.bias.data = torch.tensor(bias)
        return activated(layer, module)

    def batch_norm(layer, gamma, beta, mean, variance):
        kind = nn.BatchNorm2d if len(layer.input.shape) == 4 else nn.BatchNorm1d
        module = kind(len(gamma), eps=layer.epsilon, momentum=1 - layer.momentum)
        module.weight.data, module.bias.data = torch.tensor(gamma), torch.tensor(beta)
        module.running_mean, module.running_var = torch.tensor(mean), torch.tensor(variance)
        return module

    def max_pool(layer):
        padding = same_padding(layer, layer.pool_size)
        if all(before == 0 for before, _ in padding):  # a window across the border takes only the pixels inside
            return nn.MaxPool2d(layer.pool_size, layer.strides, ceil_mode=layer.padding == "same")
        if any(before != after for before, after in padding):
            raise SystemExit(f"{layer.name}: PyTorch's pooling has no such padding")
        return nn.MaxPool2d(layer.pool_size, layer.strides, padding=tuple(before for before, _ in padding))

    def average_pool(layer):
        padding = same_padding(layer, layer.pool_size)
        if any(before != after for before, after in padding):
            raise SystemExit(f"{layer.name}: PyTorch's pooling has no such padding")
        padding = tuple(before for before, _ in padding)
        return nn.AvgPool2d(layer.pool_size, layer.strides, padding, count_include_pad=False)

    def from_function(function):
        class Function(nn.Module):
            def forward(self, *inputs):
                return function(*inputs)

        return Function()

    def standardize(layer):
        mean, variance = (torch.tensor(v).reshape(1, -1, 1, 1) for v in (layer.input_mean, layer.input_variance))
        return from_function(lambda x: (x - mean.to(x)) * variance.to(x).rsqrt())

    def standardize_each(layer):
        def function(x):
            deviation = x.std((1, 2, 3), correction=0, keepdim=True)
            return (x - x.mean((1, 2, 3), keepdim=True)) / deviation.clamp(min=x[0].numel() ** -0.5)

        return from_function(function)

    def squeeze_excite(layer, *arrays):
        half = len(arrays) // 2
        parts = zip((layer.squeeze, layer.excite), (arrays[:half], arrays[half:]), strict=True)

        class SqueezeExcite(nn.Module):
            def __init__(self):
                super().__init__()
                self.gates = nn.Sequential(*[dense(part, *own) for part, own in parts])

            def forward(self, x):
                return x * self.gates(x.mean((2, 3)))[:, :, None, None]

        return SqueezeExcite()

    def local_response(layer):
        size = 2 * layer.depth_radius + 1
        return nn.LocalResponseNorm(size, alpha=layer.alpha * size, beta=layer.beta, k=layer.bias)

    def flatten(layer):
        return from_function(lambda x: x.permute(0, 2, 3, 1).flatten(1))  # in Keras' order, as in memory

    table = {
        layers.Conv2D: conv,
        zoo.Conv2D: conv,
        zoo.DepthwiseConv2D: conv,
        zoo.GroupedConv2D: conv,
        layers.Dense: dense,
        layers.BatchNormalization: batch_norm,
        zoo.BatchNormalization: batch_norm,
        layers.Activation: activate,
        zoo.Activation: activate,
        layers.ReLU: relu,
        zoo.MaxPooling2D: max_pool,
        layers.AveragePooling2D: average_pool,
        layers.GlobalAveragePooling2D: lambda layer: from_function(lambda x: x.mean((2, 3))),
        layers.Flatten: flatten,
        layers.Add: lambda layer: from_function(lambda *inputs: sum(inputs[1:], inputs[0])),
        layers.Concatenate: lambda layer: from_function(lambda *inputs: torch.cat(inputs, 1)),
        layers.Dropout: lambda layer: nn.Dropout(layer.rate),
        layers.Identity: lambda layer: nn.Identity(),
        layers.Normalization: standardize,
        zoo.PerImageStandardization: standardize_each,
        zoo.SqueezeExcite: squeeze_excite,
        zoo.LocalResponseNormalization: local_response,
    }

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.nodes = []
            for number, layer in enumerate(model.layers[1:]):
                if type(layer) not in table:
                    raise SystemExit(f"{layer.name}: no translation of {type(layer).__name__} to PyTorch")
                inputs = layer.input if isinstance(layer.input, list) else [layer.input]
                self.add_module(f"node{number}", table[type(layer)](layer, *weights[layer.name]))
                self.nodes.append((f"node{number}", [id(tensor) for tensor in inputs], id(layer.output)))

        def forward(self, images):
            known = {id(model.input): images.permute(0, 3, 1, 2).float()}
            for name, inputs, output in self.nodes:
                known[output] = getattr(self, name)(*[known[tensor] for tensor in inputs])
            return known[output]

    return Network()


def pad_on_both_sides(network):
    """Replace the asymmetric padding of strided convolutions by PyTorch's symmetric one.

    This shifts the output by one pixel, and saves a copy.
    """
    from torch import nn

    for module in network.modules():
        if isinstance(module, nn.Sequential) and isinstance(module[0], nn.ZeroPad2d) and min(module[1].stride) > 1:
            _, right, _, bottom = module[0].padding
            module[0], module[1].padding = nn.Identity(), (bottom, right)
