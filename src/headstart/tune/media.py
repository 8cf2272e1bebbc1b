"""The media: what reads the examples of each kind while a source is tuned on them."""

from __future__ import annotations

from headstart.data.dataset import Kind
from headstart.tune.medium import Medium
from headstart.tune.pictures import PictureMedium
from headstart.tune.texts import TextMedium

MEDIA: dict[Kind, type[Medium]] = {"image": PictureMedium, "text": TextMedium}
