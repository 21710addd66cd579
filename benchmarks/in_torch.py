"""Translation of a network of the zoo to plain PyTorch, for comparisons of speed."""

import collections
import math


def translate(model, weights):
    """Translate a functional Keras network to a torch.nn.Module from uint8 images (batch, height, width, 3) to logits.

    Each layer of the graph becomes a plain PyTorch layer, written as a PyTorch program would write it.

    Args:
        model: The Keras network. Its weights are overwritten.
        weights: A dict from layer names to lists of NumPy arrays.
    """
    import torch
    from keras import layers
    from torch import nn

    from cifar_zoo import layers as zoo

    # Each function below translates a layer, given its weights as arrays.

    def conv(layer, kernel, bias=None):
        return activated(layer, convolution(layer, kernel, bias, layer.groups))

    def depthwise_conv(layer, kernel, bias=None):
        return activated(layer, convolution(layer, _one_group_a_channel(kernel), bias, kernel.shape[2]))

    def separable_conv(layer, depthwise, pointwise, bias=None):
        depthwise = convolution(layer, _one_group_a_channel(depthwise), None, depthwise.shape[2])
        *_, channels, filters = pointwise.shape
        return activated(layer, nn.Sequential(depthwise, filled(nn.Conv2d(channels, filters, 1), pointwise, bias)))

    def convolution(layer, kernel, bias, groups):
        channels, filters = kernel.shape[2] * groups, kernel.shape[3]
        options = {"dilation": layer.dilation_rate, "groups": groups, "bias": bias is not None}
        module = filled(nn.Conv2d(channels, filters, kernel.shape[:2], layer.strides, **options), kernel, bias)
        padding = same_padding(layer, module.kernel_size, module.dilation)
        if all(before == after for before, after in padding):
            module.padding = tuple(before for before, _ in padding)
            return module
        (top, bottom), (left, right) = padding
        return nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), module)

    def filled(module, kernel, bias):
        module.weight.data = torch.tensor(kernel).permute(3, 2, 0, 1).contiguous()
        if bias is not None:
            module.bias.data = torch.tensor(bias)
        return module

    def same_padding(layer, size, dilation=(1, 1)):
        """Padding as `((top, bottom), (left, right))`, as TensorFlow pads."""
        if layer.padding == "valid":
            return (0, 0), (0, 0)
        if tuple(layer.strides) == (1, 1):  # for every size of the images
            totals = [(extent - 1) * step for extent, step in zip(size, dilation, strict=True)]
        else:
            totals = [
                max((math.ceil(length / stride) - 1) * stride + (extent - 1) * step + 1 - length, 0)
                for length, stride, extent, step in zip(
                    layer.input.shape[1:3], layer.strides, size, dilation, strict=True
                )
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
        "gelu": nn.GELU,
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

    def batch_norm(layer, *arrays):
        arrays = list(arrays)
        gamma = arrays.pop(0) if layer.scale else None
        beta = arrays.pop(0) if layer.center else None
        mean, variance = arrays
        # A dense layer's outputs are of rank 2; those of a sublayer are not in the graph.
        kind = nn.BatchNorm2d if layer.input_spec.ndim == 4 else nn.BatchNorm1d
        module = kind(len(mean), eps=layer.epsilon, momentum=1 - layer.momentum)
        module.weight = None if gamma is None else nn.Parameter(torch.tensor(gamma))
        module.bias = None if beta is None else nn.Parameter(torch.tensor(beta))
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

    class Function(nn.Module):
        """A function of the inputs and, if it takes that, of whether the network trains."""

        def __init__(self, function, **parts):
            super().__init__()
            self.function = function
            for name, part in parts.items():
                self.add_module(name, part)

        def forward(self, *inputs):
            return self.function(*inputs, *self.children())

    class InTraining(Function):
        def forward(self, *inputs):
            return self.function(*inputs, training=self.training)

    def standardize(layer):
        mean, variance = (torch.tensor(v).reshape(1, -1, 1, 1) for v in (layer.input_mean, layer.input_variance))
        return Function(lambda x: (x - mean.to(x)) * variance.to(x).rsqrt())

    def standardize_each(layer):
        def function(x):
            deviation = x.std((1, 2, 3), correction=0, keepdim=True)
            return (x - x.mean((1, 2, 3), keepdim=True)) / deviation.clamp(min=x[0].numel() ** -0.5)

        return Function(function)

    def whiten(layer, *arrays):
        (kernel,), (bias,) = ([array for array in arrays if array.ndim == ndim] for ndim in (4, 1))
        module = filled(nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[:2]), kernel, bias)
        module.weight.requires_grad_(False)
        return module

    # Attention.

    def child(layer):
        return table[type(layer)](layer, *layer.get_weights())

    def squeeze_excite(layer, *_):
        gates = nn.Sequential(child(layer.squeeze), child(layer.excite))
        return Function(lambda x, gates: x * gates(x.mean((2, 3)))[:, :, None, None], gates=gates)

    def channel_attention(layer, *_):
        def function(x, gates):
            return x * torch.sigmoid(gates(x.mean((2, 3))) + gates(x.amax((2, 3))))[:, :, None, None]

        return Function(function, gates=nn.Sequential(child(layer.reduce), child(layer.expand)))

    def spatial_attention(layer, *_):
        def function(x, gate):
            return x * gate(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1))

        return Function(function, gate=child(layer.convolution))

    def cbam(layer, *_):
        return nn.Sequential(child(layer.channel), child(layer.spatial))

    class SelectiveKernel(nn.Module):
        def __init__(self, layer, *_):
            super().__init__()
            parts = child(layer.reduce), child(layer.normalization), nn.ReLU(inplace=True), child(layer.select)
            self.scores = nn.Sequential(*parts)

        def forward(self, *branches):
            scores = self.scores(sum(branches).mean((2, 3)))
            shares = scores.unflatten(1, (len(branches), -1)).softmax(1)[..., None, None]
            return sum(shares[:, i] * branch for i, branch in enumerate(branches))

    # Random layers.

    def per_image(x, *shape):
        return torch.rand(*shape, len(x), 1, 1, 1, device=x.device)

    def shake_shake(layer):
        def function(left, right, training):
            if not training:
                return (left + right) / 2
            alpha, beta = per_image(left, 2).to(left.dtype)
            forward, backward = torch.lerp(right, left, alpha), torch.lerp(right, left, beta)
            return backward + (forward - backward).detach()

        return InTraining(function)

    def shake_drop(layer):
        def function(x, training):
            if not training:
                return x * (layer.keep_probability + (1 - layer.keep_probability) * sum(layer.alpha) / 2)
            keep, *shares = per_image(x, 3)
            forward, backward = (
                torch.where(keep < layer.keep_probability, 1, low + (high - low) * share).to(x.dtype)
                for share, (low, high) in zip(shares, (layer.alpha, layer.beta), strict=True)
            )
            return x * backward + (x * (forward - backward)).detach()

        return InTraining(function)

    def stochastic_depth(layer):
        def function(x, training):
            if not training:
                return x * layer.keep_probability
            draws = per_image(x if layer.per == "image" else x[:1])
            return x * (draws < layer.keep_probability).to(x.dtype)

        return InTraining(function)

    def draw_column(layer):
        def function(x, training):
            local = torch.full((len(x),), -1, device=x.device)
            if not training:
                return local
            drawn = torch.rand(len(x), device=x.device) < layer.probability
            return torch.where(drawn, torch.randint_like(local, layer.columns), local)

        return InTraining(function)

    def fractal_join(layer):
        def function(*inputs, training):
            *paths, column = inputs if inputs[-1].ndim == 1 else (*inputs, None)
            if not training:
                return sum(paths) / len(paths)
            draw = torch.rand(len(paths), len(paths[0]), device=paths[0].device)
            keep = (draw >= layer.drop_probability) | (draw == draw.amax(0))
            if column is not None:
                chosen = torch.arange(len(paths), device=column.device)[:, None] == column
                keep = torch.where(column < 0, keep, chosen | (column >= len(paths)))
            shares = (keep / keep.sum(0)).to(paths[0].dtype)[..., None, None, None]
            return sum(share * path for share, path in zip(shares, paths, strict=True))

        return InTraining(function)

    def local_response(layer):
        size = 2 * layer.depth_radius + 1
        return nn.LocalResponseNorm(size, alpha=layer.alpha * size, beta=layer.beta, k=layer.bias)

    table = {
        layers.Conv2D: conv,
        zoo.Conv2D: conv,
        zoo.GroupedConv2D: conv,
        zoo.DepthwiseConv2D: depthwise_conv,
        layers.SeparableConv2D: separable_conv,
        layers.Dense: dense,
        layers.BatchNormalization: batch_norm,
        zoo.BatchNormalization: batch_norm,
        layers.Activation: activate,
        zoo.Activation: activate,
        layers.ReLU: relu,
        zoo.MaxPooling2D: max_pool,
        layers.AveragePooling2D: average_pool,
        layers.GlobalAveragePooling2D: lambda layer: Function(lambda x: x.mean((2, 3))),
        layers.GlobalMaxPooling2D: lambda layer: Function(lambda x: x.amax((2, 3))),
        layers.Flatten: lambda layer: Function(lambda x: x.permute(0, 2, 3, 1).flatten(1)),  # the order of Keras
        layers.Add: lambda layer: Function(lambda *inputs: sum(inputs[1:], inputs[0])),
        layers.Average: lambda layer: Function(lambda *inputs: sum(inputs[1:], inputs[0]) / len(inputs)),
        layers.Concatenate: lambda layer: Function(lambda *inputs: torch.cat(inputs, 1)),
        layers.Rescaling: lambda layer: Function(lambda x: x * layer.scale + layer.offset),
        layers.Dropout: lambda layer: nn.Dropout(layer.rate),
        layers.Identity: lambda layer: nn.Identity(),
        layers.Normalization: standardize,
        zoo.PerImageStandardization: standardize_each,
        zoo.PatchWhitening: whiten,
        zoo.PadChannels: lambda layer: Function(
            lambda x: nn.functional.pad(x, (0, 0, 0, 0, 0, layer.channels - x.shape[1]))
        ),
        zoo.SplitChannels: lambda layer: Function(lambda x: x.chunk(layer.groups, 1)),
        zoo.ChannelShuffle: lambda layer: nn.ChannelShuffle(layer.groups),
        zoo.LocalResponseNormalization: local_response,
        zoo.SqueezeExcite: squeeze_excite,
        zoo.ChannelAttention: channel_attention,
        zoo.SpatialAttention: spatial_attention,
        zoo.CBAM: cbam,
        zoo.SelectiveKernel: SelectiveKernel,
        zoo.ShakeShake: shake_shake,
        zoo.ShakeDrop: shake_drop,
        zoo.StochasticDepth: stochastic_depth,
        zoo.DrawColumn: draw_column,
        zoo.FractalJoin: fractal_join,
    }

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.nodes = []
            for number, layer in enumerate(model.layers[1:]):
                if type(layer) not in table:
                    raise SystemExit(f"{layer.name}: no translation of {type(layer).__name__} to PyTorch")
                layer.set_weights(weights[layer.name])  # for its sublayers
                self.add_module(f"node{number}", table[type(layer)](layer, *weights[layer.name]))
                inputs, outputs = (
                    [id(tensor) for tensor in (ends if isinstance(ends, list) else [ends])]
                    for ends in (layer.input, layer.output)
                )
                self.nodes.append((f"node{number}", inputs, outputs))
            uses = collections.Counter(tensor for _, inputs, _ in self.nodes for tensor in inputs)
            for name, inputs, _ in self.nodes:
                if isinstance(getattr(self, name), nn.ReLU):
                    getattr(self, name).inplace = uses[inputs[0]] == 1  # else it would change what others read

        def forward(self, images):
            known = {id(model.input): images.permute(0, 3, 1, 2).float()}
            for name, inputs, outputs in self.nodes:
                results = getattr(self, name)(*[known[tensor] for tensor in inputs])
                known |= zip(outputs, results if isinstance(results, tuple) else [results], strict=True)
            return known[outputs[0]]

    return Network()


def _one_group_a_channel(kernel):
    """The kernel (height, width, channels, multiplier) of a depthwise convolution as that of a grouped one."""
    return kernel.reshape(*kernel.shape[:2], 1, -1)


def pad_on_both_sides(network):
    """Replace the asymmetric padding of strided convolutions by PyTorch's symmetric one.

    This shifts the output by one pixel, and saves a copy.
    """
    from torch import nn

    for module in network.modules():
        if isinstance(module, nn.Sequential) and isinstance(module[0], nn.ZeroPad2d) and min(module[1].stride) > 1:
            _, right, _, bottom = module[0].padding
            module[0], module[1].padding = nn.Identity(), (bottom, right)
