"""A model: a source, a head on its features, and the classes that it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.arguments import naming_own_arguments
from headstart.base.config import cache_dir
from headstart.base.errors import BundleError, SourceError, UsageError, check_at_least, counted, list_some, one_line
from headstart.base.progress import Progress, Remarks
from headstart.data.audit import check_bad
from headstart.data.dataset import Dataset, TableRows
from headstart.data.modality import MODALITIES
from headstart.data.text import texts_at
from headstart.engines.base import Block
from headstart.features.features import Extraction
from headstart.heads.linear import LinearHead, softmax
from headstart.heads.tfidf import TfidfHead
from headstart.judge.evaluation import Evaluation, columns_of, evaluated
from headstart.judge.neighbours import Neighbour, Neighbours
from headstart.judge.novelty import Novelty
from headstart.judge.prediction import Predictions, unreadable
from headstart.ship import bundle, card
from headstart.ship.bundle import Bundle, DataIdentity, Manifest, SourceIdentity
from headstart.ship.reopening import arguments_of, how_to_get, installed_versions, reopened
from headstart.ship.run_neighbours import read_neighbours
from headstart.sources.base import Source


@dataclass(frozen=True, repr=False)
class Model:
    """A classifier: `source` makes features, `head` turns them into probabilities of `classes`.

    Attributes:
        blocks: the columns of the features that the head reads.
        classes: the class names; their positions are the columns of the probabilities.
        engine: `auto`, `torch` or `openvino`.
        terms: for texts, a head on their words, whose scores are added to those of `head`; None for none.
        novelty: what tells examples that are unlike the training data; None where nothing can.
        neighbours: the training examples, of which `nearest` finds some; None where they are read from beside `folder`.
        folder: the bundle that the model was loaded from; None for none.
    """

    source: Source
    layer: str
    blocks: tuple[Block, ...]
    head: LinearHead
    classes: tuple[str, ...]
    report: dict[str, Any]
    data: DataIdentity
    engine: str = "auto"
    terms: TfidfHead | None = None
    novelty: Novelty | None = None
    neighbours: Neighbours | None = None
    folder: Path | None = None

    def __repr__(self) -> str:
        """Return the source, the classes and the test accuracy on one line."""
        accuracy = self.report.get("test", {}).get("accuracy")
        reached = "" if accuracy is None else f", test accuracy {100 * accuracy['value']:.1f} %"
        classes = f"{len(self.classes)} classes: {list_some(self.classes)}"
        return f"Model({one_line(self.source.info.uri)}, {classes}{reached})"

    def _repr_html_(self) -> str:
        """Return the head of the report, for a notebook: the verdict and the test metrics with their intervals."""
        from headstart.judge.report.notebook import head_of_report, metric_figures

        title = f"{self.source.info.uri} · {self.data.name} · {counted(len(self.classes), 'class', 'classes')}"
        return head_of_report(title, self.report.get("sentence", ""), metric_figures(self.report.get("test", {})))

    def predict(self, items: Any) -> list[Any]:
        """Return the most probable class of each item.

        Args:
            items: paths, bytes of files, PIL pictures, or arrays or tensors as `fit` takes them; for a model of texts,
                the texts themselves, or a Path of a file that holds one; one item alone is a list of one. Or a table: a
                frame, a dict of columns, a list of records, or a data set, with columns as those that were fitted on.

        Returns:
            A class for each item. Of a table, each row has its place: None where it cannot be used.

        Raises:
            UsageError: an item cannot be read, or a table lacks the column of examples; the message names it.
        """
        shares = self.predict_proba(items)
        return [None if np.isnan(row[0]) else self.classes[int(row.argmax())] for row in shares]

    def predict_proba(self, items: Any) -> NDArray[np.float32]:
        """Return class probabilities, float32 of shape (n, c), rows summing to 1 and columns as in `classes`.

        Items and errors are those of `predict`; the row of a table that cannot be used is NaN.
        """
        return self._rows_of(items, len(self.classes), lambda predictions: predictions.probabilities)

    def novelty_scores(self, items: Any) -> NDArray[np.float32]:
        """Return how unlike the training data each item is, float32 of shape (n,), >= 0.

        Above 1 an item is unlike: 1 in 100 that are like the training data lies there. Items and errors are those of
        `predict`; the row of a table that cannot be used is NaN, and so is all where the model cannot tell.
        """

        def scores(predictions: Predictions) -> NDArray[np.float32]:
            return np.full(len(predictions.ids), np.nan) if predictions.novelty is None else predictions.novelty

        return self._rows_of(items, 1, lambda predictions: scores(predictions)[:, None])[:, 0]

    def nearest(self, items: Any, count: int = 3) -> list[tuple[Neighbour, ...]]:
        """Return the `count` training examples that are nearest to each item, the nearest first, with their similarity.

        Items and errors are those of `predict`; a row of a table that cannot be used has none.

        Raises:
            UsageError: the model was loaded from a bundle beside which its run's training examples do not stand.
        """
        check_at_least("count", count, 1)
        ids, predictions = self._of_items(items, nearest=count)
        near = {} if predictions is None else dict(zip(predictions.ids, predictions.nearest or (), strict=True))
        return [near.get(name, ()) for name in ids]

    def _rows_of(
        self, items: Any, width: int, rows: Callable[[Predictions], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Return a row of `width` numbers for each item, NaN for one of a table that cannot be used."""
        ids, predictions = self._of_items(items)
        shares = np.full((len(ids), width), np.nan, dtype=np.float32)
        if predictions is not None:
            places = {name: row for row, name in enumerate(ids)}
            shares[[places[name] for name in predictions.ids]] = rows(predictions)
        return shares

    def _of_items(self, items: Any, *, nearest: int = 0) -> tuple[list[str], Predictions | None]:
        """Return the id of each item, and what the model says of those that can be used; None of no item."""
        from headstart.data.readers.arrays.in_memory import from_items, several
        from headstart.data.readers.arrays.python_data import examples_of_table

        kind = self.source.info.kind
        cells = examples_of_table(items, remembered=self.data.columns, kind=kind)
        items = several(items) if cells is None else cells
        if not len(items):
            return [], None
        dataset = from_items(items, kind=kind)
        predictions = self.predict_dataset(dataset, nearest=nearest)
        if predictions.skipped and cells is None:
            raise unreadable(predictions.skipped)
        return [example.id for example in dataset.examples], predictions

    def predict_dataset(
        self, dataset: Dataset, *, engine: str | None = None, nearest: int = 0, progress: Progress | None = None
    ) -> Predictions:
        """Return what the model says about every readable example of `dataset`, and what was skipped.

        `engine` is `auto`, `torch` or `openvino`; None takes the model's own. Each has the `nearest` training examples.
        """
        return self._predicted(self._extract(dataset, engine or self.engine, progress or Progress()), nearest)

    def _predicted(self, extraction: Extraction, nearest: int) -> Predictions:
        readable = extraction.scan.dataset
        ids = tuple(example.id for example in readable.examples)
        rows = readable.table or TableRows({})
        probabilities, novelty = self._judged(extraction)
        near = self._nearest(extraction, nearest) if nearest else None
        return Predictions(ids, probabilities, readable.skipped, readable.ignored, rows, novelty, near)

    def _nearest(self, extraction: Extraction, count: int) -> tuple[tuple[Neighbour, ...], ...]:
        from headstart.sources.layers import select

        neighbours = self.neighbours or read_neighbours(self.folder, self.head.weight.shape)
        x, blocks = select(extraction.x, extraction.blocks, self.layer)
        near = neighbours.nearest(x, [block.width for block in blocks], self.classes, count=count)
        return tuple(near[row] for row in extraction.row_of)

    def predict_blocks(
        self,
        dataset: Dataset,
        *,
        size: int,
        start: int = 0,
        nearest: int = 0,
        engine: str | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Predictions]:
        """Yield what the model says about the rows of inputs, `size` of them at a time, from row `start` on.

        No more than a block of features is in memory. `dataset` is as `open_inputs` opens it; `progress` has one step,
        over all rows.
        """
        from headstart.data.images.value_range import in_one_range
        from headstart.data.readers.inputs import blocks

        dataset = in_one_range(dataset, self.data.value_ranges)
        progress = progress or Progress()
        total = len(dataset.table.ids) if dataset.table is not None else len(dataset)
        with progress.step("Predicting", total, dataset.items, done=start) as step:
            for block in blocks(dataset, size, start=start):
                if len(block):
                    extraction = self._extract(block, engine or self.engine, Remarks(progress), in_range=True)
                    yield self._predicted(extraction, nearest)
                else:
                    empty = np.empty((0, len(self.classes)), np.float32)
                    novelty = None if self.novelty is None else np.empty(0, np.float32)
                    yield Predictions((), empty, block.skipped, 0, block.table or TableRows({}), novelty)
                step.advance(min(size, total))

    @naming_own_arguments
    def evaluate(
        self,
        data: Any,
        *,
        columns: dict[str, Any] | None = None,
        root: Path | None = None,
        label_from: str | None = None,
        group_by: str | None = None,
        follow_links: bool = False,
        allow_broken: bool = False,
        seed: int = 0,
        engine: str | None = None,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Return what the model reaches on labelled data: on its test part where it names one, else on all of it.

        Args:
            data: as `fit` takes it; it may hold fewer classes than the model.
            columns: names of a table's columns, by our words for them, as `fit` takes them; by default those that the
                model was fitted on, where the table has them.
            root: as `fit` takes it.
            label_from: as `fit` takes it; by default the pattern that the model was fitted with, where the names match.
            group_by: the same for groups.
            follow_links: as `fit` takes it.
            allow_broken: as `fit` takes it.
            seed: of the resamples of intervals.
            engine: `auto`, `torch` or `openvino`; None takes the model's own.

        Raises:
            UsageError: the data cannot be used, holds examples of another kind, or a class unknown to the model.
        """
        from headstart.data.readers.open import open_as_before
        from headstart.features.relatives import with_relatives

        reading: dict[str, Any] = {"root": root, "follow_links": follow_links}
        reading |= {"label_from": label_from, "group_by": group_by}
        dataset = open_as_before(data, self.data.patterns, self.data.columns, columns=columns, **reading)
        if dataset.kind != self.source.info.kind:
            plural = MODALITIES[self.source.info.kind].plural
            raise UsageError(f"DATA must hold {plural}, which the model reads", dataset.items, f"name {plural}")
        columns_of(dataset, self.classes)  # raises before any work
        extraction = self._extract(dataset, engine or self.engine, progress or Progress())
        check_bad(extraction.scan.dataset, allow_broken=allow_broken)
        probabilities, novelty = self._judged(extraction)
        return evaluated(
            with_relatives(extraction, cache_dir()).scan,
            probabilities,
            self.classes,
            novelty=novelty,
            engine=extraction.engine,
            cached=(extraction.hits, extraction.misses),
            seed=seed,
        )

    def _extract(self, dataset: Dataset, engine: str, progress: Progress, *, in_range: bool = False) -> Extraction:
        from headstart.data.images.value_range import in_one_range
        from headstart.features.extract import extract

        before = len(dataset.notes)
        dataset = dataset if in_range else in_one_range(dataset, self.data.value_ranges)
        for note in dataset.notes[before:]:
            progress.say(note)
        return extract(dataset, self.source, engine=engine, cache=cache_dir(), progress=progress)

    def _judged(self, extraction: Extraction) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return the class probabilities of each readable example, float32 of shape (n, c), and its novelty (n,)."""
        texts: tuple[str, ...] = ()
        if self.terms is not None:
            _, first = np.unique(extraction.row_of, return_index=True)
            texts = texts_at(extraction.scan.dataset, first.tolist())
        probabilities, novelty = self.judge(extraction.x, extraction.blocks, texts)
        rows = extraction.row_of
        return np.asarray(probabilities[rows]), None if novelty is None else novelty[rows]

    def judge(
        self, x: NDArray[np.float32], blocks: tuple[Block, ...], texts: Sequence[str] = ()
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return class probabilities of rows of features, float32 of shape (n, c), and their novelty (n,) or None.

        Args:
            x: every block of features of the source side by side, float32 of shape (n, d).
            blocks: the names and widths of its columns.
            texts: the n texts themselves, where the model reads their words as well (`terms`).

        Raises:
            SourceError: these are not the features that the head was fitted on.
            BundleError: a score is not finite.
        """
        from headstart.sources.layers import select

        x, blocks = select(x, blocks, self.layer)
        if blocks != self.blocks:
            raise SourceError(
                f"{self.source.info.uri} must give the features that the head was fitted on: {_widths(self.blocks)}",
                _widths(blocks),
                "open the source that the model was fitted with",
            )
        with np.errstate(over="ignore", invalid="ignore"):
            scores = self.head.scores(x)
            if self.terms is not None:
                scores = scores + self.terms.scores(texts)
            probabilities = softmax(scores / np.float32(self.head.temperature))
        if not np.isfinite(probabilities).all():
            raise BundleError(
                f"the head on {self.source.info.uri} must give finite scores",
                "NaN or infinity: its weights are too large, or its features not finite",
                "fit the model again, or fetch its bundle again",
            )
        widths = [block.width for block in blocks]
        return np.asarray(probabilities), None if self.novelty is None else self.novelty.scores(x, widths)

    def save(self, folder: str | Path) -> None:
        """Write the model as a bundle, whole or not at all; an older bundle in `folder` is replaced.

        Raises:
            BundleError: `folder` exists and is not a bundle.
            UsageError: the disk is full or cannot be written; an older bundle is intact.
        """
        manifest = self.manifest()
        page = card.bundle_card(manifest, self.report)
        tuned = dict(self.source.weights)
        bundle.save(Path(folder), Bundle(manifest, self.head, self.report, page, tuned, self.terms, self.novelty))

    def manifest(self) -> Manifest:
        """Return what the bundle of this model says of itself."""
        base = self.source.base or self.source
        info = base.info
        get = "; ".join(dict.fromkeys(how_to_get(each.info) for each in base.members or (base,)))
        way = self.report.get("tuning", {}).get("way", "tuned")
        return Manifest(
            task=MODALITIES[info.kind].task,
            classes=list(self.classes),
            source=SourceIdentity(info.uri, info.revision, info.sha256, info.licence, get, opened=arguments_of(base)),
            preprocessing=bundle.plain_values(self.source.preprocessing),
            layer=self.layer,
            blocks=list(self.blocks),
            head=bundle.HeadIdentity(self.head.kind, float(self.head.penalty)),
            calibration=bundle.Calibration(float(self.head.temperature)),
            data=self.data,
            versions=installed_versions(),
            tuning=bundle.TuningIdentity(way, self.source.info.sha256) if self.source.base is not None else None,
        )


@naming_own_arguments
def load(folder: str | Path, *, engine: str = "auto") -> Model:
    """Open a bundle and the source that it stands on.

    Args:
        folder: the bundle, or the output folder of a `fit`, which holds it; or `hf:ORG/NAME[@REVISION]`, a bundle on
            the Hugging Face hub, which is fetched once for each commit.
        engine: `auto`, `torch` or `openvino`.

    Raises:
        BundleError: the bundle is damaged, or its source is absent or another one; the message says how to get it.
    """
    from headstart.ship.hub_bundle import bundle_folder, bundle_path

    path = bundle_folder(bundle_path(folder))
    loaded = bundle.load(path)
    manifest = loaded.manifest
    return Model(
        source=reopened(manifest, loaded.tuned),
        layer=manifest.layer,
        blocks=tuple(manifest.blocks),
        head=loaded.head,
        classes=tuple(manifest.classes),
        report=loaded.report,
        data=manifest.data,
        engine=engine,
        terms=loaded.terms,
        novelty=loaded.novelty,
        folder=path,
    )


def source_of(folder: str) -> Source:
    """Return the source of a bundle, as `load` opens it."""
    return load(folder).source


def _widths(blocks: tuple[Block, ...]) -> str:
    return ", ".join(f"{block.name} ({block.width})" for block in blocks)
