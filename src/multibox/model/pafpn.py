"""The neck of YOLOX-Nano: feature maps of three strides exchange what they see, first downwards, then upwards.

Source: Liu et al., "Path Aggregation Network for Instance Segmentation", 2018, figure 1, with the CSP blocks of YOLOX.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from multibox.model.csp_layers import ConvSiLU, CSPBlock, SeparableConv


class PAFPN(nn.Module):
    """Three feature maps, finest first, of `channels` that double from one to the next; the same shapes come out."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        fine, middle, coarse = channels
        assert (middle, coarse) == (2 * fine, 4 * fine), f"channels {channels} do not double"
        self.reduce_coarse = ConvSiLU(coarse, middle)
        self.enlarge_coarse = nn.Upsample(scale_factor=2, mode="nearest")
        self.down_middle = _block(2 * middle, middle)
        self.reduce_middle = ConvSiLU(middle, fine)
        self.enlarge_middle = nn.Upsample(scale_factor=2, mode="nearest")
        self.down_fine = _block(2 * fine, fine)
        self.shrink_fine = SeparableConv(fine, fine, stride=2)
        self.up_middle = _block(2 * fine, middle)
        self.shrink_middle = SeparableConv(middle, middle, stride=2)
        self.up_coarse = _block(2 * middle, coarse)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """[(B, C, H, W), (B, 2 C, H / 2, W / 2), (B, 4 C, H / 4, W / 4)] to three maps of the same shapes."""
        fine, middle, coarse = features
        from_coarse = self.reduce_coarse(coarse)
        from_middle = self.reduce_middle(self.down_middle(torch.cat([self.enlarge_coarse(from_coarse), middle], dim=1)))
        fine = self.down_fine(torch.cat([self.enlarge_middle(from_middle), fine], dim=1))
        middle = self.up_middle(torch.cat([self.shrink_fine(fine), from_middle], dim=1))
        coarse = self.up_coarse(torch.cat([self.shrink_middle(middle), from_coarse], dim=1))
        return [fine, middle, coarse]


def _block(in_channels: int, out_channels: int) -> CSPBlock:
    return CSPBlock(in_channels, out_channels, num_bottlenecks=1, has_residual=False)
