"""fastai's `vision_learner` and `fine_tune`, 5 and 20 epochs, on EfficientNet-Lite0. Its environment: see `lite0.py`.

`fine_tune` trains the new head for one epoch, then everything. fastai wants examples to validate with: one of each
class is named a second time, so that all are trained on. Its default, batches of 64, leave out a set of fewer.
"""

from __future__ import annotations

from functools import partial

import pandas as pd
from draws import PHOTOS, Examples, run
from fastai.vision.all import ImageDataLoaders, Normalize, Resize, aug_transforms, vision_learner
from lite0 import NAME, weights


def fit(train: Examples, items: list[str], epochs: int) -> list[dict[str, float]]:
    rows = pd.DataFrame({"name": train[0], "label": train[1], "valid": False})
    rows = pd.concat([rows, rows.drop_duplicates("label").assign(valid=True)])
    loaders = ImageDataLoaders.from_df(
        rows,
        path="/",
        valid_col="valid",
        item_tfms=Resize(460),
        batch_tfms=[*aug_transforms(size=224, min_scale=0.75), Normalize.from_stats([0.5] * 3, [0.5] * 3)],
        bs=min(16, len(train[0])),
        num_workers=0,
    )
    learner = vision_learner(loaders, NAME, pretrained=False, normalize=False)
    learner.model[0].model.load_state_dict(weights(), strict=False)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs)
        chances, _ = learner.get_preds(dl=loaders.test_dl(items))
    return [dict(zip(loaders.vocab, row, strict=True)) for row in chances.tolist()]


if __name__ == "__main__":
    for epochs in (5, 20):
        run(f"fastai {epochs}", partial(fit, epochs=epochs), PHOTOS)
