"""Tiny random models of every kind that `hf:` takes, as the files of their repositories."""

from __future__ import annotations

import hashlib
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

SIDE = 32
TOKENS = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": SIDE, "patch_size": 8}
MAPS = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
WINDOWS = {"image_size": SIDE, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}
TOWERS = {
    "vision_config": {**TOKENS, "intermediate_size": 32},
    "text_config": {
        **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
        **{"vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2},
    },
}
LABELS = {"num_labels": 5}
SQUASHED = {"image_processor_type": "ViTImageProcessor", "size": {"height": SIDE, "width": SIDE}, "resample": 2}
CROPPED = {
    "image_processor_type": "BitImageProcessor",
    "size": {"shortest_edge": 40},
    "crop_size": {"height": SIDE, "width": SIDE},
    "resample": 3,
    "do_center_crop": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}
CONVNEXT = {
    "image_processor_type": "ConvNextImageProcessor",
    "size": {"shortest_edge": SIDE},
    "crop_pct": 0.875,
    "resample": 3,
}
CLIP = {**CROPPED, "image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": SIDE}}

SIZED = {**TOKENS, **LABELS, "intermediate_size": 32}
STAGED = {**MAPS, **LABELS, "embedding_size": 8}
KINDS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "vit": ("ViT", "ForImageClassification", SIZED, SQUASHED),
    "deit": ("DeiT", "ForImageClassification", SIZED, CROPPED),
    "dinov2": ("Dinov2", "Model", {**TOKENS, "mlp_ratio": 2}, CROPPED),
    "dinov2_with_registers": ("Dinov2WithRegisters", "Model", {**TOKENS, "mlp_ratio": 2}, CROPPED),
    "beit": ("Beit", "ForImageClassification", {**SIZED, "out_indices": [1]}, SQUASHED),
    "swin": ("Swin", "ForImageClassification", {**WINDOWS, **LABELS}, SQUASHED),
    "swinv2": ("Swinv2", "ForImageClassification", {**WINDOWS, **LABELS}, SQUASHED),
    "convnext": ("ConvNext", "ForImageClassification", {**MAPS, **LABELS}, CONVNEXT),
    "convnextv2": ("ConvNextV2", "ForImageClassification", {**MAPS, **LABELS}, CONVNEXT),
    "resnet": ("ResNet", "ForImageClassification", STAGED, CONVNEXT),
    "regnet": ("RegNet", "ForImageClassification", {**STAGED, "groups_width": 8}, CONVNEXT),
    "mobilenet_v2": ("MobileNetV2", "ForImageClassification", {**LABELS, "depth_multiplier": 0.25}, CROPPED),
    "clip": ("CLIP", "Model", TOWERS, CLIP),
    "clip_vision_model": ("CLIPVision", "Model", TOWERS["vision_config"], CLIP),
    "siglip": ("Siglip", "Model", TOWERS, SQUASHED),
}
"""By `model_type`: the stem and the end of the library's names, the settings, and the preprocessing."""


@cache
def tiny(kind: str, seed: int = 0) -> dict[str, bytes]:
    """Return the files of a tiny random model of transformers, as that library itself writes them."""
    import torch
    import transformers

    stem, end, settings, processor = KINDS[kind]
    transformers.utils.logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(100 + seed)
        model = getattr(transformers, stem + end)(getattr(transformers, f"{stem}Config")(**settings))
        see_pictures(model)
    files = saved(model)
    return {**files, "preprocessor_config.json": json.dumps(processor).encode()}


def see_pictures(model: Any) -> None:
    """Give every BatchNorm the mean and variance of some pictures, so that the random network tells them apart."""
    import torch

    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    if norms:
        for norm in norms:
            norm.momentum = None
        with torch.no_grad():
            model.train()(torch.randn(8, 3, 2 * SIDE, 2 * SIDE))
        model.eval()


def saved(model: Any) -> dict[str, bytes]:
    """Return the files that `save_pretrained` writes."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@cache
def tiny_timm(seed: int = 0) -> dict[str, bytes]:
    """Return the files of a tiny random model in timm's layout."""
    import timm
    import torch
    from timm.models import save_for_hf

    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(100 + seed)
        model = timm.create_model("test_resnet", num_classes=5)
        save_for_hf(model, folder, safe_serialization=True)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def place(cache: Path, name: str, files: dict[str, bytes]) -> str:
    """Put a repository into a folder as the hub's library keeps it, without any hub, and return its commit."""
    commit = hashlib.sha1(b"".join(files[file] for file in sorted(files))).hexdigest()
    folder = cache / f"models--{name.replace('/', '--')}"
    for file, data in files.items():
        path = folder / "snapshots" / commit / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    absent = folder / ".no_exist" / commit / "README.md"
    absent.parent.mkdir(parents=True, exist_ok=True)
    absent.touch()
    return commit


ENCODER = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
POSITIONS = {"vocab_size": 60, "max_position_embeddings": 66, "pad_token_id": 1}
TEXT_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", {**ENCODER, "vocab_size": 60, "max_position_embeddings": 64}),
    "distilbert": ("DistilBert", {"dim": 16, "n_layers": 4, "n_heads": 2, "hidden_dim": 32, "vocab_size": 60}),
    "roberta": ("Roberta", {**ENCODER, **POSITIONS}),
    "xlm-roberta": ("XLMRoberta", {**ENCODER, **POSITIONS}),
    "camembert": ("Camembert", {**ENCODER, **POSITIONS}),
    "mpnet": ("MPNet", {**ENCODER, **POSITIONS}),
    "electra": ("Electra", {**ENCODER, "embedding_size": 16, "vocab_size": 60, "max_position_embeddings": 64}),
    "albert": ("Albert", {**ENCODER, "embedding_size": 8, "vocab_size": 60, "max_position_embeddings": 64}),
    "modernbert": ("ModernBert", {**ENCODER, "vocab_size": 60, "max_position_embeddings": 64, "pad_token_id": 1}),
}
"""By `model_type`: the stem of the library's names, and the settings."""


@cache
def tiny_text(kind: str, seed: int = 0, head: str = "Model") -> dict[str, bytes]:
    """Return the files of a tiny random text encoder, as transformers writes them, with a tokenizer of whole words."""
    import torch
    import transformers
    from toy_texts import FILLERS, TOPICS, write_tokenizer

    stem, settings = TEXT_KINDS[kind]
    transformers.utils.logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(100 + seed)
        model = getattr(transformers, stem + head)(getattr(transformers, f"{stem}Config")(**settings))
    with tempfile.TemporaryDirectory() as folder:
        words = [*FILLERS, *(word for topic in TOPICS.values() for word in topic)]
        tokenizer = write_tokenizer(Path(folder) / "tokenizer.json", words).read_bytes()
    return {**saved(model), "tokenizer.json": tokenizer}


SMALL = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
WAVES = {
    **SMALL,
    "conv_dim": (8, 8),
    "conv_kernel": (10, 4),
    "conv_stride": (40, 8),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
SOUND_KINDS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "wav2vec2": ("Wav2Vec2", WAVES, "Wav2Vec2FeatureExtractor", {}),
    "hubert": ("Hubert", WAVES, "Wav2Vec2FeatureExtractor", {"do_normalize": False}),
    "wavlm": ("WavLM", {**WAVES, "num_buckets": 20, "max_bucket_distance": 40}, "Wav2Vec2FeatureExtractor", {}),
    "audio-spectrogram-transformer": (
        "AST", {**SMALL, "max_length": 128, "num_mel_bins": 32}, "ASTFeatureExtractor",
        {"max_length": 128, "num_mel_bins": 32},
    ),
    "whisper": (
        "Whisper",
        {"d_model": 16, "encoder_layers": 4, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_layers": 1,
         "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "vocab_size": 20, "pad_token_id": 0, "bos_token_id": 0,
         "eos_token_id": 0, "decoder_start_token_id": 0, "num_mel_bins": 16, "max_source_positions": 100,
         "begin_suppress_tokens": None, "suppress_tokens": None},
        "WhisperFeatureExtractor", {"feature_size": 16, "chunk_length": 2},
    ),
}  # fmt: skip
"""By `model_type`: the stem of the library's names, the settings, and its feature extractor with those of it."""


@cache
def tiny_sound(kind: str, seed: int = 0, head: str = "Model") -> dict[str, bytes]:
    """Return the files of a tiny random encoder of recordings, as transformers writes them."""
    import torch
    import transformers

    stem, settings, extractor, reads = SOUND_KINDS[kind]
    transformers.utils.logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(100 + seed)
        model = getattr(transformers, stem + head)(getattr(transformers, f"{stem}Config")(**settings))
        getattr(transformers, extractor)(**reads).save_pretrained(folder)
        return {**saved(model), "preprocessor_config.json": (Path(folder) / "preprocessor_config.json").read_bytes()}


def for_sentences(
    files: dict[str, bytes], *, pooling: dict[str, Any], normalise: bool = False, **settings: dict[str, Any]
) -> dict[str, bytes]:
    """Return the files with those of sentence-transformers beside them.

    Args:
        files: of the encoder.
        pooling: what the pooling's `config.json` holds.
        normalise: whether a third module scales to unit length.
        settings: `limits` and `prompts`, what the two other files hold.
    """
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalise else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": at, "name": str(at), "path": paths[at], "type": f"sentence_transformers.models.{kind}"}
        for at, kind in enumerate(kinds)
    ]
    more: dict[str, Any] = {"modules.json": modules, "1_Pooling/config.json": pooling}
    names = {"limits": "sentence_bert_config.json", "prompts": "config_sentence_transformers.json"}
    more |= {names[name]: held for name, held in settings.items()}
    return {**files, **{name: json.dumps(held).encode() for name, held in more.items()}}
