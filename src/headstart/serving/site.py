"""What is served: bundles by name, each replaced as soon as a whole new one lies in its folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.base.config import cores
from headstart.base.errors import HeadstartError, UsageError, did_you_mean
from headstart.base.hashing import sha256
from headstart.base.own_folders import MANIFEST
from headstart.data.dataset import BadExample
from headstart.data.modality import MODALITIES
from headstart.model import load
from headstart.serving.batching import Batcher, Busy
from headstart.serving.open_model import Answer, Engines, OpenModel, Prepared
from headstart.serving.payload import Payload, RequestError, reasons
from headstart.ship.hub_bundle import bundle_folder, bundle_path, is_on_hub

LOOKED_AT = 1.0  # seconds between two looks at the folders of bundles
Stamp = tuple[tuple[str, int, int, int], ...]
Report = Callable[..., None]
"""Takes the name of an event and what is known of it."""


def named_bundles(bundles: Sequence[str]) -> dict[str, str]:
    """Return bundles by the name that requests use: NAME of `NAME=BUNDLE`, otherwise that of the folder.

    UsageError: two have the same name.
    """
    named: dict[str, str] = {}
    for bundle in bundles:
        name, equals, path = bundle.partition("=")
        if not equals or Path(bundle).exists():
            path = bundle
            folder = Path(path.partition("@")[0] if is_on_hub(path) else path).absolute()
            name = folder.parent.name if folder.name == "bundle" else folder.name
        if name in named:
            raise UsageError(
                "each bundle must have a name of its own", f"{name!r} twice", f"write other={path} for one of them"
            )
        named[name] = path
    return named


def stamp_of(folder: Path) -> Stamp:
    """Return what tells whether anything in a folder has changed; empty where it is not there."""
    stamps = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat()
            stamps.append((entry.name, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(sorted(stamps))


@dataclass(frozen=True)
class Current:
    """The model that answers now, and what runs its examples."""

    model: OpenModel
    batcher: Batcher[Prepared, Answer]
    version: str  # twelve digits of the sha256 of its manifest


class Served:
    """One bundle under its name."""

    def __init__(
        self, name: str, bundle: str, engines: Engines, *, report: Report, on_group: Callable[..., None]
    ) -> None:
        self.name, self.bundle = name, str(bundle_path(bundle))  # of a hub, one commit
        self._engines, self._report, self._on_group = engines, report, on_group
        self._stamp: Stamp = ()
        self.current = self._opened()

    def _opened(self) -> Current:
        """Return the bundle of the folder as it is now. HeadstartError: it cannot be used."""
        folder = bundle_folder(Path(self.bundle))
        self._stamp = stamp_of(folder)
        model = OpenModel(load(self.bundle, engine=self._engines.engine), self._engines)
        version = sha256((folder / MANIFEST).read_bytes())[:12]

        def on_group(items: int, seconds: float) -> None:
            self._on_group(self.name, items, seconds)

        batcher = Batcher(model.run, batch=model.batch, size_of=lambda one: one.pieces, on_group=on_group)
        return Current(model, batcher, version)

    def refresh(self) -> bool:
        """Open the bundle once more where its folder has changed, and return whether that is what answers now.

        Where it cannot be used, the one before goes on to answer, and why is reported, once for each change.
        """
        if stamp_of(bundle_folder(Path(self.bundle))) in (self._stamp, ()):
            return False
        before = self.current
        try:
            current = self._opened()
        except (HeadstartError, OSError, ValueError) as error:
            self._report("bundle not replaced", level="warning", model=self.name, reason=str(error))
            return False
        if current.version == before.version:
            current.batcher.close()
            return False
        self.current = current
        before.batcher.close()  # once all that it accepted is answered
        self._report("bundle replaced", model=self.name, version=current.version, before=before.version)
        return True

    def describe(self) -> dict[str, Any]:
        """Return what the model is, ready for JSON."""
        model, current = self.current.model.model, self.current
        modality = MODALITIES[current.model.kind]
        return {
            "name": self.name,
            "version": current.version,
            "task": modality.task,
            "reads": current.model.kind,
            "classes": list(model.classes),
            "source": model.source.info.uri,
            "licence": model.source.info.licence,
            "tells_novelty": model.novelty is not None,
            "data": model.data.name,
        }


class Site:
    """All bundles that a process serves."""

    def __init__(self, models: Mapping[str, Served], engines: Engines) -> None:
        self.models, self._engines = dict(models), engines
        self._pool = ThreadPoolExecutor(cores(), thread_name_prefix="decoding")
        self._watcher: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether no model would accept another item."""
        return all(served.current.batcher.is_full for served in self.models.values())

    def start(self) -> None:
        """Begin to look at the folders of the bundles, in the loop that runs now."""
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """Look no longer, and end the threads once what was accepted is answered."""
        if self._watcher is not None:
            self._watcher.cancel()
            with suppress(asyncio.CancelledError):
                await self._watcher
        for served in self.models.values():
            served.current.batcher.close()
        self._pool.shutdown(wait=False)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOKED_AT)
            for served in self.models.values():
                if await asyncio.to_thread(served.refresh):
                    members = [one for each in self.models.values() for one in each.current.model.members]
                    self._engines.keep(members)

    def model_named(self, name: str | None) -> Served:
        """Return a model by its name, the first by None; RequestError where there is none of that name."""
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            known = ", ".join(self.models)
            raise RequestError(404, f"models are {known}; found {name!r}{did_you_mean(name, self.models)}")
        return self.models[name]

    async def predict(self, payload: Payload) -> dict[str, Any]:
        """Return what a model says of each item, ready for JSON.

        RequestError: too much waits, or none of the items can be used; where some can, the others have their reason.
        """
        served = self.model_named(payload.model)
        current = served.current
        try:
            current.batcher.admit(len(payload.items))
        except Busy as busy:
            raise RequestError(503, str(busy), {"Retry-After": str(busy.retry_after)}) from busy
        outcomes = await asyncio.gather(*(self._answer(current, item) for _, item in payload.items))
        names = [name for name, _ in payload.items]
        failed = [(name, out) for name, out in zip(names, outcomes, strict=True) if isinstance(out, str)]
        if len(failed) == len(names):
            raise RequestError(422, reasons(failed))
        classes = current.model.model.classes
        shown = [
            {"name": name}
            | ({"error": out} if isinstance(out, str) else out.shown(classes, every_class=payload.every_class))
            for name, out in zip(names, outcomes, strict=True)
        ]
        return {"model": served.name, "version": current.version, "predictions": shown, "failed": len(failed)}

    async def _answer(self, current: Current, item: bytes | str) -> Answer | str:
        """Return the answer on one item that was accepted, or why it cannot be used."""
        kind, submitted = current.model.kind, False
        try:
            if isinstance(item, str) and kind != "text":
                return f"a text, where the model reads {MODALITIES[kind].plural}"
            prepared = await asyncio.get_running_loop().run_in_executor(self._pool, current.model.prepare, item)
            future, submitted = current.batcher.submit(prepared), True
            return await asyncio.wrap_future(future)
        except BadExample as error:
            return error.reason
        except HeadstartError as error:
            return str(error)
        finally:
            if not submitted:
                current.batcher.withdraw()
