"""The present code against the record of what it computed and said before; see `recording`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.unchanged import recording
from tests.unchanged.recording import LIBRARIES

pytestmark = pytest.mark.e2e

LOSS_TOLERANCE = 1e-3
"""Relative, between two processors: rounding grows in thirty steps."""


@pytest.fixture(scope="module")
def before() -> dict[str, Any]:
    recorded = json.loads(recording.RECORD.read_text(encoding="utf-8"))
    theirs, ours = recorded["computed_by"], recording.computed_by()
    others = [f"{name} {ours[name]} (recorded: {theirs[name]})" for name in LIBRARIES if ours[name] != theirs[name]]
    if others:
        pytest.skip(f"other libraries than those in constraints.txt: {', '.join(others)}")
    return recorded


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    return recording.record(tmp_path_factory.mktemp("unchanged"))


def test_losses_of_thirty_steps(before, now):
    exact = before["computed_by"] == now["computed_by"]
    for run, losses in before["losses"].items():
        assert len(losses) == recording.STEPS
        np.testing.assert_allclose(now["losses"][run], losses, rtol=0 if exact else LOSS_TOLERANCE, err_msg=run)


def test_bytes_of_weights_of_checkpoints_and_exports(before, now):
    if before["computed_by"] != now["computed_by"]:
        pytest.skip(f"recorded by {before['computed_by']}, this is {now['computed_by']}: the last bits differ")
    assert now["weights"] == before["weights"]
    assert now["exported_weights"] == before["exported_weights"]


def test_detections_of_a_checkpoint(before, now):
    if before["computed_by"] == now["computed_by"]:
        assert now["detections"] == before["detections"]
    for ours, theirs in zip(now["detections"], before["detections"], strict=True):
        # Elsewhere the order of nearly equal scores may differ, the scores themselves do not.
        np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=0.02)


def test_metrics_of_an_evaluation(before, now):
    lines, recorded = (content["metrics.yaml"].splitlines() for content in (now, before))
    if before["computed_by"] == now["computed_by"]:
        assert lines == recorded
    assert [line.partition(": ")[0] for line in lines] == [line.partition(": ")[0] for line in recorded]


def test_help_of_each_command(before):
    texts = recording.help_texts()
    assert texts.keys() == before["help"].keys()
    for command, text in texts.items():
        assert text == before["help"][command], command
