"""Networks of PyTorch become OpenVINO's, and nobody is told of it."""

from __future__ import annotations

import os

import pytest

from multibox.openvino_graph import graph_of

torch = pytest.importorskip("torch")


@pytest.mark.filterwarnings("ignore")  # of what the two libraries find deprecated in each other
def test_a_conversion_is_not_reported(monkeypatch):
    telemetry = pytest.importorskip("openvino_telemetry.main")
    backend = pytest.importorskip("openvino_telemetry.backend.backend_ga4")
    sent = []
    monkeypatch.setattr(backend.GA4Backend, "send", lambda _, message: sent.append(message))
    # As in a process that has converted nothing yet, of a user who was never asked.
    monkeypatch.setattr(telemetry.Telemetry, "_SingletonMetaClass__single_instance", None)
    monkeypatch.delenv("CI", raising=False)
    graph = graph_of(torch.nn.Linear(2, 3), example_input=torch.zeros(1, 2))
    assert graph.output(0).partial_shape[1].get_length() == 3
    assert sent == []
    assert "CI" not in os.environ
