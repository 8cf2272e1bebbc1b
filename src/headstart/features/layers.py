"""Layers are a choice of columns: what is extracted does not depend on the layer asked for."""

from headstart.sources.layers import check_layer, layer_names, select

__all__ = ["check_layer", "layer_names", "select"]
