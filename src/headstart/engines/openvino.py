"""The OpenVINO engine: a network converted once, kept as a file, compiled in a tenth of a second.

Imports OpenVINO, and torch only to convert.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cores_shared
from headstart.base.disk import TEMPORARY, process_lock, prove_room, reraise_disk_errors, sync_folder, write_atomic
from headstart.base.errors import SourceError
from headstart.base.hashing import canonical_json, sha256_file
from headstart.engines.base import WINDOWS, Batch, Network, Padded, as_tokens, over_pieces, over_windows
from headstart.engines.environment import own_signal_stack, set_passive_omp_wait, without_telemetry

with without_telemetry():
    import openvino as ov

BATCH = 4  # as fast as larger ones on a core, and smaller ones give the network's last layers too little to do
XML, BIN, RECORD = "network.xml", "network.bin", "network.json"
PRECISIONS = {"bf16": "BF16", "f32": "FP32"}
"""Our names of precisions, fastest first, and what a CPU calls them among its capabilities."""


class OpenVinoEngine:
    """Runs a compiled network on small batches of one fixed size, one on each core at a time.

    One size for every batch gives an example the same features, to the last digit, whatever stands beside it. A batch
    a core costs an eighth less than one batch spread over the cores, whose threads wait for the slowest: most where
    decoding threads want the same cores.
    """

    def __init__(self, model: ov.Model, *, precision: str) -> None:
        self.name = f"openvino-{precision}"
        self._model, self._precision = model, precision
        compiled = compile_model(model, precision, PERFORMANCE_HINT="THROUGHPUT")
        self._shape = tuple(model.input(0).shape)
        ends = np.cumsum([0, *(output.shape[1] for output in compiled.outputs)]).tolist()
        self._columns = [slice(start, end) for start, end in pairwise(ends)]
        self._width = ends[-1]
        self._queue = ov.AsyncInferQueue(compiled)
        self.batch = self._shape[0] * len(self._queue)

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Return the blocks side by side, float32 of shape (n, sum of widths)."""
        if not isinstance(batch, np.ndarray):
            return over_windows(self.run, batch, WINDOWS * self.batch)
        features = np.empty((len(batch), self._width), dtype=np.float32)
        size, blocks = self._shape[0], self._columns

        # The queue keeps this function: if it knew the engine, neither would ever leave memory.
        def collect(request: Any, start: int) -> None:
            rows = features[start : start + size]
            for output, columns in enumerate(blocks):
                rows[:, columns] = request.get_output_tensor(output).data[: len(rows)]

        self._queue.set_callback(collect)
        for start in range(0, len(batch), size):
            full = np.zeros(self._shape, dtype=np.uint8)
            some = batch[start : start + size]
            full[: len(some)] = some
            self._queue.start_async({0: full}, start)
        self._queue.wait_all()
        return features

    def one_by_one(self) -> OpenVinoEngine:
        """Return the same network in batches of 1: a lone picture waits for no other, and fills no batch with zeros."""
        model = self._model.clone()
        with suppress(RuntimeError):  # a graph that is of one size alone keeps it
            model.reshape({0: [1, *self._shape[1:]]})
            return OpenVinoEngine(model, precision=self._precision)
        return self


class OpenVinoTexts:
    """Runs a compiled network of texts, whose batches are of any size and length, one on each core at a time."""

    def __init__(self, model: ov.Model, *, precision: str) -> None:
        self.name, self.batch = f"openvino-{precision}", 256
        compiled = compile_model(model, precision, PERFORMANCE_HINT="THROUGHPUT")
        self._width = sum(output.partial_shape[1].get_length() for output in compiled.outputs)
        self._outputs = range(len(compiled.outputs))
        self._queue = ov.AsyncInferQueue(compiled)

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Return the blocks side by side, float32 of shape (n, sum of widths)."""
        return over_pieces(self._run, as_tokens(batch), self._width)

    def _run(self, batches: list[Padded]) -> list[NDArray[np.float32]]:
        outputs_by_batch: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(batches)
        outputs = self._outputs

        # The queue keeps this function: if it knew the engine, neither would ever leave memory.
        def collect(request: Any, index: int) -> None:
            outputs_by_batch[index] = np.concatenate(
                [request.get_output_tensor(output).data for output in outputs], axis=1
            )

        self._queue.set_callback(collect)
        for index, (ids, mask) in enumerate(batches):
            self._queue.start_async({0: ids, 1: mask}, index)
        self._queue.wait_all()
        return outputs_by_batch


def compile_model(model: ov.Model, precision: str = "f32", **hints: str) -> ov.CompiledModel:
    """Return a network that is ready to run on this CPU; signals are handled afterwards as before."""
    hints = {**hints, "INFERENCE_PRECISION_HINT": precision}
    if (count := cores_shared()) is not None:
        hints["INFERENCE_NUM_THREADS"] = str(count)
    with own_signal_stack():
        return ov.Core().compile_model(model, "CPU", hints)


def precisions() -> tuple[str, ...]:
    """Return the precisions that this CPU computes in natively, fastest first."""
    able = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return tuple(name for name, capability in PRECISIONS.items() if capability in able)


def open_converted(network: Network, folder: Path, *, say: Callable[[str], None] = lambda text: None) -> ov.Model:
    """Return the converted network, read from `folder`, or converted and kept there; UsageError if it cannot be."""
    if not _sound(folder):
        with process_lock(folder.with_suffix(".lock")):
            if not _sound(folder):
                if folder.exists():
                    say(f"the converted network in {folder} is damaged and is made again")
                    damaged = folder.replace(folder.with_name(f"{TEMPORARY}{os.getpid()}-damaged-{folder.name}"))
                    shutil.rmtree(damaged, ignore_errors=True)
                else:
                    say("converting the network for OpenVINO, once")
                _keep(convert(network), folder)
    return ov.Core().read_model(folder / XML, folder / BIN)


def convert(network: Network, *, batch: int = BATCH) -> ov.Model:
    """Return the network as an OpenVINO model whose batch has a fixed size.

    A graph that cannot be given that size keeps the one it was made with, and one that gives other outputs than it
    promises is a SourceError; a network of texts takes batches of any size.
    """
    from openvino._offline_transformations import apply_moc_transformations

    model = _from_torch(network, batch) if network.graph is None else _from_graph(network, network.graph, batch)
    apply_moc_transformations(model, cf=False, smart_reshape=False)
    return model


def unfixed(network: Network) -> ov.Model:
    """Return the network as an OpenVINO model as it comes, whatever the size of its batch."""
    return _from_torch(network, BATCH) if network.graph is None else network.graph()


def _from_graph(network: Network, graph: Callable[[], ov.Model], batch: int) -> ov.Model:
    if not network.input_shape:
        return graph()
    own = graph().input(0).partial_shape[0]
    for size in (batch, own.get_length() if own.is_static else 1):
        model = graph()
        if _fits(model, network, size):
            return model
    raise SourceError(
        "a graph must give one row of each block for each picture",
        "outputs of other shapes",
        "export it again with a batch of any size",
    )


def _fits(model: ov.Model, network: Network, batch: int) -> bool:
    """Give the graph a batch of fixed size, and return whether it then gives one row a picture."""
    try:
        model.reshape([batch, *network.input_shape])
    except RuntimeError:
        return False  # a shape inside the graph holds the size that it was made with
    shapes = [output.partial_shape for output in model.outputs]
    expected = [[batch, block.width] for block in network.blocks]
    return [shape.to_shape() if shape.is_static else None for shape in shapes] == expected


def _from_torch(network: Network, batch: int) -> ov.Model:
    set_passive_omp_wait()
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    from torch.jit._trace import TracerWarning

    if network.input_shape:
        examples: tuple[torch.Tensor, ...] = (torch.zeros(batch, *network.input_shape, dtype=torch.uint8),)
        shapes = [list(examples[0].shape)]
    else:
        examples = (torch.ones(2, 16, dtype=torch.int64),) * 2
        shapes = [[-1, -1]] * 2
    frontend = FrontEndManager().load_by_framework("pytorch")
    with torch.no_grad(), warnings.catch_warnings():
        # The front end is called by itself: `ov.convert_model` reports its use to a server.
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.trace", category=FutureWarning)
        # Tracing reads every attribute of a module, those too that its library means to drop.
        warnings.filterwarnings("ignore", message=r"`\w+` is deprecated", category=FutureWarning)
        warnings.filterwarnings("ignore", category=TracerWarning)
        # Torch's own check of the trace takes most of its time; what counts is agreement on photos, checked later.
        unchecked = {"check_trace": False}
        traced = TorchScriptPythonDecoder(network.module(), example_input=examples, trace_kwargs=unchecked)
        model = frontend.convert(frontend.load(traced))
    model.reshape(dict(zip(model.inputs, shapes, strict=True)))
    return model


def _keep(model: ov.Model, folder: Path) -> None:
    """Write the model under a temporary name, sync it, and give it its own: there whole, or not at all."""
    part = folder.with_name(f"{TEMPORARY}{os.getpid()}-{folder.name}")
    size = sum(node.get_byte_size() for node in model.get_ops() if node.get_type_name() == "Constant")
    try:
        with reraise_disk_errors(folder, size):
            part.mkdir(parents=True)
            try:
                ov.save_model(model, part / XML, compress_to_fp16=False)
            except RuntimeError:
                (part / BIN).unlink(missing_ok=True)
                prove_room(part / BIN, size)
                raise
            for name in (XML, BIN):
                _sync(part / name)
            sums = {name: sha256_file(part / name) for name in (XML, BIN)}
            write_atomic(part / RECORD, canonical_json({"sha256": sums, "openvino": ov.__version__}))
            part.replace(folder)
            sync_folder(folder.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sound(folder: Path) -> bool:
    try:
        record = json.loads((folder / RECORD).read_bytes())
        return all(sha256_file(folder / name) == record["sha256"][name] for name in (XML, BIN))
    except (OSError, ValueError, KeyError, TypeError):
        return False  # absent or damaged: the caller makes it afresh, and says so
