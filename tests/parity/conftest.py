"""The original's reference numbers; tests that need them are skipped where they are absent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from multibox import config
from multibox.model import ssd
from multibox.model.anchors import make_anchors

ROOT = Path(__file__).parents[2]
FOLDER = ROOT.parent / "shared" / "reference" / "parity_256_80"


@pytest.fixture(scope="session")
def reference() -> Mapping[str, np.ndarray]:
    if not FOLDER.exists():
        pytest.skip("the reference arrays are not here")
    return np.load(FOLDER / "reference.npz")


@pytest.fixture(scope="session")
def source_images() -> list[np.ndarray]:
    arrays = np.load(FOLDER / "images.npz")
    return [arrays[f"image{i}"] for i in range(3)]


@pytest.fixture(scope="session")
def template() -> config.Template:
    return config.load_template(ROOT / "src/multibox/templates/mobilenet_v2-2s_ssd-256x256.yaml")


@pytest.fixture(scope="session")
def snapshot(reference: Any) -> dict[str, torch.Tensor]:
    return torch.load(FOLDER / "snapshot.pth", weights_only=True)["state_dict"]


@pytest.fixture
def model(template: config.Template, snapshot: dict[str, torch.Tensor]) -> ssd.SSD:
    network = ssd.build_ssd(template, num_classes=80)
    network.load_state_dict(snapshot)
    return network.eval()


@pytest.fixture(scope="session")
def images(reference: Mapping[str, np.ndarray]) -> torch.Tensor:
    """(3, 3, 256, 256), what the network sees."""
    rgb = reference["resized_bgr_u8"][..., ::-1].astype(np.float32) * np.float32(1 / 255)
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(0, 3, 1, 2)))


@pytest.fixture(scope="session")
def anchors(template: config.Template) -> np.ndarray:
    return make_anchors(template.model.anchors_px, [16, 32], 256)
