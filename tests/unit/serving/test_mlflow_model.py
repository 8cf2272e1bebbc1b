"""A bundle as a model of MLflow: its folder is what MLflow reads, and it answers as the model does."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml
from served import small_run
from toy_texts import sentences, write_csv

import headstart as hs
from headstart.base.errors import UsageError
from headstart.serving import mlflow_model
from headstart.serving.mlflow_model import write_mlflow


def test_photos(tmp_path: Path, cache: Path) -> None:
    run, out = small_run(tmp_path), tmp_path / "model"
    assert write_mlflow(run, out) == ["MLmodel", "python_env.yaml", "requirements.txt", "README.md", "bundle"]
    described = yaml.safe_load((out / "MLmodel").read_text())
    flavour = described["flavors"]["python_function"]
    assert flavour["loader_module"] == mlflow_model.__name__ and (out / flavour["env"]["virtualenv"]).is_file()
    assert [column["name"] for column in json.loads(described["signature"]["inputs"])] == ["data"]
    classifier = mlflow_model._load_pyfunc(str(out / flavour["data"]))
    photos = sorted((tmp_path / "photos0").rglob("*.png"))[:3]
    encoded = [base64.b64encode(photo.read_bytes()).decode() for photo in photos]
    first, odd, *others = classifier.predict({"data": [encoded[0], "no base64", *encoded[1:]]})
    shares = hs.load(run).predict_proba(photos)
    for answer, row in zip([first, *others], shares, strict=True):
        assert list(answer["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-6)
    assert list(odd) == ["error"] and first["unlike"] is False
    with pytest.raises(UsageError, match="the input must have a column 'data'; found text"):
        classifier.predict({"text": ["a"]})


@pytest.mark.slow
def test_mlflow_serves_it_on_loopback(tmp_path: Path, cache: Path, loopback: None) -> None:
    for library in ("mlflow", "pandas"):
        pytest.importorskip(library)
    hs.fit(write_csv(tmp_path / "texts.csv", sentences(12)), source="packaged:wordllama", out=tmp_path / "run")
    write_mlflow(tmp_path / "run", tmp_path / "model")
    arguments = ["-m", str(tmp_path / "model"), "--env-manager", "local", "--port", "5179"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # uvicorn is there
    server = subprocess.Popen([sys.executable, "-m", "mlflow", "models", "serve", *arguments], env=environment)
    text = "bread and butter soup"
    body = json.dumps({"dataframe_records": [{"text": text}]}).encode()
    request = urllib.request.Request("http://127.0.0.1:5179/invocations", body, {"Content-Type": "application/json"})
    try:
        for _ in range(600):
            try:
                answer = json.loads(urllib.request.urlopen(request, timeout=60).read())
                break
            except urllib.error.URLError:
                assert server.poll() is None
                time.sleep(0.5)
    finally:
        server.terminate()
        server.wait(30)
    (row,) = answer["predictions"]
    (shares,) = hs.load(tmp_path / "run").predict_proba([text])
    assert list(row["probabilities"].values()) == pytest.approx(shares.tolist(), abs=1e-5)
