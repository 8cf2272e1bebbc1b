"""Networks of transformers, built from their settings, with their weights loaded strictly.

Image models come in timm's two steps, encoders of texts as blocks. Imports torch and transformers: only
`providers.huggingface` imports this file, and only when it builds a network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from headstart.base.errors import SourceError, list_some
from headstart.sources.base import Architecture
from headstart.sources.layers import Pooling
from headstart.sources.networks.bert import mean_of_tokens
from headstart.sources.networks.image_processor import preprocessing_of
from headstart.sources.networks.size_bound import check_size
from headstart.sources.networks.stages import as_stage, look_for_architecture
from headstart.sources.networks.tapped import seen

UNUSED_BY_IMAGES = (
    "classifier.", "cls_classifier.", "distillation_classifier.", "pooler.dense.", "decoder.", "decode_head.",
    "lm_head.", "layernorm.", "text_model.", "visual_projection.", "text_projection.", "logit_scale", "logit_bias",
    "embeddings.mask_token",
)  # fmt: skip
"""How tensors are named, once their prefix is off, that no features of pictures need: heads and the tower of texts."""
TABLES = ("position_ids", "relative_position_index", "num_batches_tracked")


Pool = Callable[[Any, Tensor], Tensor]
"""From the base network and its last hidden state to pooled features, as the network's own classifier pools them."""


def _first(base: Any, final: Tensor) -> Tensor:
    """The class token: ViT and DeiT."""
    return final[:, 0]


def _first_and_mean(base: Any, final: Tensor) -> Tensor:
    """The class token beside the mean of the patches, registers left out: DINOv2."""
    patches = final[:, 1 + getattr(base.config, "num_register_tokens", 0) :]
    return torch.cat([final[:, 0], patches.mean(1)], 1)


def _mean(base: Any, final: Tensor) -> Tensor:
    """The mean of the tokens: Swin."""
    return final.mean(1)


def _pooler(base: Any, final: Tensor) -> Tensor:
    """What the base network's own pooler makes of it: BEiT, ResNet, RegNet, MobileNetV2."""
    pooled: Tensor = base.pooler(final).flatten(1)
    return pooled


def _normed_mean(base: Any, final: Tensor) -> Tensor:
    """The mean over positions, normalised: ConvNeXt."""
    pooled: Tensor = base.layernorm(final.mean((2, 3)))
    return pooled


def _normed_first(base: Any, final: Tensor) -> Tensor:
    """The class token, normalised, before the projection to the space shared with texts: CLIP."""
    pooled: Tensor = base.post_layernorm(final[:, 0])
    return pooled


def _attended(base: Any, final: Tensor) -> Tensor:
    """What one query of attention gathers from the patches: SigLIP."""
    pooled: Tensor = base.head(final)
    return pooled


@dataclass(frozen=True)
class Family:
    """How the networks of one `model_type` are built and pooled."""

    bare: str  # the class of the network without a classifier
    pool: Pool = _mean  # how its classifier pools, of pictures
    classifier: str = ""  # the class with a classifier; empty for none
    dense: bool = False  # whether the bare class has a dense layer after pooling, which no classifier uses
    vision: bool = False  # whether the settings are those of a pair of towers, of which `vision_config` is taken


def _family(stem: str, pool: Pool, *, dense: bool = False) -> Family:
    return Family(f"{stem}Model", pool, f"{stem}ForImageClassification", dense)


FAMILIES = {
    "vit": _family("ViT", _first, dense=True),
    "deit": _family("DeiT", _first, dense=True),
    "dinov2": _family("Dinov2", _first_and_mean),
    "dinov2_with_registers": _family("Dinov2WithRegisters", _first_and_mean),
    "beit": _family("Beit", _pooler),
    "swin": _family("Swin", _mean),
    "swinv2": _family("Swinv2", _mean),
    "convnext": _family("ConvNext", _normed_mean),
    "convnextv2": _family("ConvNextV2", _normed_mean),
    "resnet": _family("ResNet", _pooler),
    "regnet": _family("RegNet", _pooler),
    "mobilenet_v2": _family("MobileNetV2", _pooler),
    "clip": Family("CLIPVisionModel", _normed_first, vision=True),
    "clip_vision_model": Family("CLIPVisionModel", _normed_first),
    "siglip": Family("SiglipVisionModel", _attended, vision=True),
    "siglip_vision_model": Family("SiglipVisionModel", _attended),
}

TEXT_FAMILIES = {
    "bert": Family("BertModel", dense=True),
    "distilbert": Family("DistilBertModel"),
    "roberta": Family("RobertaModel", dense=True),
    "xlm-roberta": Family("XLMRobertaModel", dense=True),
    "camembert": Family("CamembertModel", dense=True),
    "mpnet": Family("MPNetModel", dense=True),
    "modernbert": Family("ModernBertModel"),
    "electra": Family("ElectraModel"),
    "albert": Family("AlbertModel", dense=True),
}
UNUSED_BY_TEXTS = (
    "cls.", "pooler.", "classifier.", "pre_classifier.", "lm_head.", "qa_outputs.", "vocab_", "predictions.",
    "sop_classifier.", "discriminator_predictions.", "generator_", "head.", "decoder.",
)  # fmt: skip
"""How tensors are named, once their prefix is off, that no features of texts need."""


class Steps(nn.Module):
    """A transformers network, with a classifier or without, in timm's two steps; `pool` takes its last hidden state."""

    def __init__(self, model: Any, pool: Pool) -> None:
        super().__init__()
        self.model = model
        self._pool = pool

    @property
    def base(self) -> Any:
        """The network without its classifier."""
        return getattr(self.model, self.model.base_model_prefix, self.model)

    @property
    def classifier(self) -> nn.Module | None:
        """What turns pooled features into scores."""
        return getattr(self.model, "classifier", None)

    def forward_features(self, pictures: Tensor) -> Tensor:
        """Return the last hidden state: (n, tokens, c) or (n, c, h, w)."""
        state: Tensor = self.base(pixel_values=pictures).last_hidden_state
        return state

    def forward_head(self, final: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return the scores, of shape (n, k), or with `pre_logits` the pooled features, of shape (n, d)."""
        pooled = self._pool(self.base, final)
        if pre_logits or self.classifier is None:
            return pooled
        scores: Tensor = self.classifier(pooled)
        return scores

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the scores, or the pooled features where there is no classifier."""
        return self.forward_head(self.forward_features(pictures))


def build_classifier(
    settings: Mapping[str, Any], state: dict[str, Tensor] | None, *, where: str
) -> tuple[Steps, tuple[str, ...]]:
    """Return the network with the weights in `state`, or with torch's next random ones, and what must be told of it.

    `settings` are of a family among `FAMILIES`; the tensors have the names of any version of transformers, and `where`
    names their file. It is in inference mode. SourceError: transformers cannot build it, or the weights are not those
    of its body, every one.
    """
    family = FAMILIES[settings["model_type"]]
    model, notes = build_network(family, settings, state, where=where, unused=UNUSED_BY_IMAGES)
    return Steps(model, family.pool).eval(), notes


def build_network(
    family: Family,
    settings: Mapping[str, Any],
    state: dict[str, Tensor] | None,
    *,
    where: str,
    unused: tuple[str, ...],
    attention: str | None = None,
) -> tuple[Any, tuple[str, ...]]:
    """Return a network as transformers builds it, and what must be told of it; see `build_classifier`.

    `unused` are the beginnings of the names of tensors that it does not need.
    """
    kind, config = _class_and_config(family, settings)
    if attention is not None:
        config._attn_implementation = attention
    options = {"add_pooling_layer": False} if family.dense and kind.__name__ == family.bare else {}
    with _building(settings.get("model_type")):
        check_size(lambda: kind(config, **options), state)
        if state is None:
            return kind(config, **options).eval(), ()
    with _building(config.model_type):
        # By transformers' own table of names, which knows those of every version; the report is what it did not use.
        model, report = kind.from_pretrained(
            None,
            config=config,
            state_dict=dict(state),
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    return model.eval(), _check_loaded(model, report, where, unused)


def _class_and_config(family: Family, settings: Mapping[str, Any]) -> tuple[Any, Any]:
    stated = (settings.get("architectures") or [""])[0]
    plain = {name: value for name, value in settings.items() if name not in ("dtype", "torch_dtype")}
    with _building(settings.get("model_type")):
        config = transformers.AutoConfig.for_model(**plain)
    if family.vision:
        config = config.vision_config
    return getattr(transformers, family.classifier if stated and stated == family.classifier else family.bare), config


def _check_loaded(model: Any, report: Mapping[str, Any], where: str, unused: tuple[str, ...]) -> tuple[str, ...]:
    """Prove that every weight of the body was loaded, take off a classifier that was not, and return what to tell.

    SourceError: a weight of the body is missing, has another shape, or is left over.
    """
    own = f"{model.base_model_prefix}."
    headed = hasattr(model, model.base_model_prefix)

    def of_head(name: str) -> bool:
        return headed and not name.startswith(own)

    mismatched = {
        name: f"{name} {tuple(shape)} for {tuple(expected)}" for name, shape, expected in report["mismatched_keys"]
    }
    missing = set(report["missing_keys"]) - mismatched.keys()
    left_over = [name for name in report["unexpected_keys"] if not _is_unused(name.removeprefix(own), unused)]
    _refuse(where, "missing", [name for name in missing if not of_head(name)], len(model.state_dict()))
    _refuse(where, "left over", left_over, len(model.state_dict()))
    _refuse(where, "of another shape", [line for name, line in mismatched.items() if not of_head(name)])
    left_out = sorted(set(report["unexpected_keys"]) - set(left_over))
    notes = []
    if left_out:
        parts = Counter(name.removeprefix(own).partition(".")[0] for name in left_out)
        listed = ", ".join(f"{part} ({count})" for part, count in parts.most_common(4))
        notes.append(f"{len(left_out)} tensors were left out that its features do not need: {listed}")
    if any(of_head(name) for name in (*missing, *mismatched)):
        why = "; ".join(sorted(mismatched.values())) or "there is none"
        notes.append(f"its classifier was left out ({why}): features only")
        model.classifier = None
    return tuple(notes)


def _refuse(where: str, fault: str, names: Collection[str], total: int = 0) -> None:
    if names:
        raise SourceError(
            f"{where} must hold every weight of the network's body and no other",
            f"{len(names)}{f' of {total}' if fault == 'missing' else ''} {fault}: {list_some(sorted(names))}",
            "name a repository whose weights belong to its config.json",
        )


def _is_unused(name: str, unused: tuple[str, ...]) -> bool:
    return name.startswith(unused) or name.endswith(TABLES)


@contextmanager
def _building(model_type: object) -> Iterator[None]:
    """Raise SourceError where transformers cannot build a network in the block; its bar and table of names are off.

    What they say is checked here.
    """
    logging: Any = transformers.utils.logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    except (SourceError, MemoryError):
        raise
    except Exception as error:
        raise SourceError(
            f"transformers must be able to build a {model_type} network from config.json",
            str(error).partition("\n")[0] or type(error).__name__,
            "name another source",
        ) from error
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def inspect_transformers(body: Any, processor: Mapping[str, Any], uri: str) -> Architecture:
    """Return the architecture of what `build_classifier` returned, found by running it once on a blank picture.

    `processor` is what `preprocessor_config.json` holds; SourceError where the network takes no pictures of its size.
    """
    preprocessing = preprocessing_of(processor, body.model.config.model_type, uri)
    height, width = preprocessing.size
    blank = torch.zeros(1, 3, height, width)
    try:
        with torch.inference_mode():
            classes = body(blank).shape[1] if body.classifier is not None else 0
        stages = _stages(body, blank)
        return look_for_architecture(
            body, blank, preprocessing, classes=classes, classifier=body.classifier, modules=stages
        )
    except (RuntimeError, ValueError) as error:
        raise SourceError(
            f"{uri} must take pictures of {height} x {width}, as its preprocessor_config.json says",
            str(error).partition("\n")[0],
            "name another source",
        ) from error


def _stages(body: Steps, blank: Tensor) -> list[str]:
    """Return the modules that end a stage: the blocks of a transformer, or the last of each resolution."""
    lists = ((name, list(module)) for name, module in body.named_modules() if isinstance(module, nn.ModuleList))
    name, blocks = next((name, blocks) for name, blocks in lists if len(blocks) > 1)
    inner = [getattr(block, "blocks", None) for block in blocks]
    names = [
        f"{name}.{at}.blocks.{len(within) - 1}" if isinstance(within, nn.ModuleList) else f"{name}.{at}"
        for at, within in enumerate(inner)
    ]
    with torch.inference_mode(), seen(body, names) as outputs:
        body.forward_features(blank)
    if any(getattr(outputs.get(name), "ndim", 0) != 4 for name in names):
        return names
    ends = {stage.positions: name for name in names if (stage := as_stage("", name, outputs[name])) is not None}
    return list(ends.values())


class Encoder(nn.Module):
    """The blocks of an encoder: its own pooled vector, and the mean over tokens of further layers."""

    def __init__(self, model: Any, pooling: Pooling) -> None:
        super().__init__()
        self.model, self.pooling = model, pooling

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Return the blocks, float32 of shape (n, width) each, for ids and mask of shape (n, length)."""
        outputs = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        pooled = self._pooled(outputs.last_hidden_state, mask)
        if self.pooling.normalise:
            pooled = F.normalize(pooled, dim=1)
        layers = (mean_of_tokens(outputs.hidden_states[at + 1], mask) for at in self.pooling.layers)
        return (pooled, *(F.normalize(layer, dim=1) for layer in layers))

    def _pooled(self, values: Tensor, mask: Tensor) -> Tensor:
        if self.pooling.operation == "cls":
            return values[:, 0]
        if self.pooling.operation == "max":
            return values.masked_fill(mask[:, :, None] == 0, -1e9).amax(1)
        mean = mean_of_tokens(values, mask)
        if self.pooling.operation == "mean":
            return mean
        return mean * mask.sum(1, keepdim=True).to(values.dtype).sqrt()


def build_encoder(
    settings: dict[str, Any], pooling: Pooling, state: dict[str, Tensor] | None, *, where: str
) -> Encoder:
    """Return the encoder in inference mode; arguments and errors are those of `build_classifier`."""
    family = TEXT_FAMILIES[settings["model_type"]]
    bare = {**settings, "architectures": None}
    # Eager attention can be traced for batches of any size.
    model, _ = build_network(family, bare, state, where=where, unused=UNUSED_BY_TEXTS, attention="eager")
    return Encoder(model, pooling).eval()
