"""A network layer by layer, for whoever writes it as a graph of another library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import fx, nn

from multibox.model.layers import flatten_level
from multibox.model.quantized import INPUT_QUANTIZER, OUTPUT_QUANTIZER, Quantizer

LayerTable = Mapping[type[nn.Module], Callable[..., Any]]
"""For each kind of layer, a function that adds one to a graph: (graph, the layer's name, the layer, its input)."""

FunctionTable = Mapping[Any, Callable[..., Any]]
"""For each function that a network calls, one that adds it: (graph, the name of the calling module, its arguments)."""


class LayerWriter(fx.Interpreter):
    """Runs a folded network, quantised or not, on values of a graph instead of tensors: each layer adds its nodes.

    A network has a few kinds of layers, so this takes a tenth of a second. General exporters of PyTorch programs take
    5 to 20, and their graphs change with the version of PyTorch.
    """

    def __init__(self, network: nn.Module, graph: Any, *, layers: LayerTable, functions: FunctionTable) -> None:
        super().__init__(fx.GraphModule(network, _Tracer(layers).trace(network)))
        self.extra_traceback = False  # an assertion below says which layer it is about
        self._graph, self._layers, self._functions = graph, layers, functions
        self._caller = ""

    def run_node(self, n: fx.Node) -> Any:
        """What a node gives; the module that it stands in is remembered for `call_function`."""
        stack = n.meta.get("nn_module_stack") or {}
        self._caller = list(stack.values())[-1][0] if stack else ""
        return super().run_node(n)

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A layer with weights or settings."""
        module = self.fetch_attr(target)
        assert type(module) in self._layers, f"{target}: no node is known here for {type(module).__name__}"
        # A hook rounds what goes into a layer or comes out of it; here it is the layer's child that tells.
        before, after = (getattr(module, name, None) for name in (INPUT_QUANTIZER, OUTPUT_QUANTIZER))
        add_quantizer = self._layers[Quantizer]
        if before is not None:
            args = (add_quantizer(self._graph, f"{target}.{INPUT_QUANTIZER}", before, *args),)
        y = self._layers[type(module)](self._graph, target, module, *args)
        return y if after is None else add_quantizer(self._graph, f"{target}.{OUTPUT_QUANTIZER}", after, y)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One of the functions in the table."""
        assert target in self._functions, f"no node is known here for {target}"
        return self._functions[target](self._graph, self._caller, *args, **kwargs)

    def call_method(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A method of a tensor, which no network has outside of the functions in the table."""
        raise AssertionError(f"no node is known here for Tensor.{target}")


class _Tracer(fx.Tracer):
    """Takes the layers in a table and the function `flatten_level` as they are, without looking inside."""

    def __init__(self, layers: LayerTable) -> None:
        super().__init__(autowrap_functions=(flatten_level,))
        self._layers = layers

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one of the layers in the table."""
        return type(m) in self._layers or super().is_leaf_module(m, module_qualified_name)
