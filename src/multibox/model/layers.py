"""Building blocks: those of the SSD's backbone, named as in the published snapshots, and what both heads do."""

from __future__ import annotations

from torch import Tensor, nn

from multibox.model.depthwise import DepthwiseConv2d


class ConvBlock(nn.Module):
    """Convolution without bias, batch normalisation and, unless `activation` is false, ReLU6."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 1,
        stride: int = 1,
        is_depthwise: bool = False,
        activation: bool = True,
    ) -> None:
        super().__init__()
        if is_depthwise:
            self.conv: nn.Conv2d = DepthwiseConv2d(in_channels, stride=stride)
        else:
            self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.activ = nn.ReLU6(inplace=True) if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        y: Tensor = self.activ(self.bn(self.conv(x)))
        return y


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; the input is added where shapes allow it. The output is linear.

    Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018, table 1.
    """

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.has_residual = stride == 1 and in_channels == out_channels
        self.conv1 = ConvBlock(in_channels, hidden_channels)
        self.conv2 = ConvBlock(hidden_channels, hidden_channels, kernel_size=3, stride=stride, is_depthwise=True)
        self.conv3 = ConvBlock(hidden_channels, out_channels, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        y: Tensor = self.conv3(self.conv2(self.conv1(x)))
        return x + y if self.has_residual else y


def flatten_level(level: Tensor, last: int) -> Tensor:
    """The `last` values of each of the N anchors of a cell as a row: (B, N * last, H, W) to (B, H * W * N, last)."""
    return level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, last)
