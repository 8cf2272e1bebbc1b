"""A server on loopback: what it answers, what it refuses and how, and that it ends with all answered."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hostile_requests import form, hostile_requests, part, picture, raw
from served import LIMITS, Client, serving, small_run

import headstart as hs
from headstart.base.disk import write_folder
from headstart.serving import guard
from headstart.serving.app import REFUSALS
from headstart.serving.guard import JsonLog
from headstart.serving.metrics import Metrics

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def photos(run: Path) -> list[Path]:
    return sorted((run.parent / "photos0").rglob("*.*"))


@pytest.fixture
def client(run: Path, loopback: None) -> Iterator[Client]:
    with serving({"toys": run}) as served:
        yield served


def test_answers_are_those_of_predict_in_every_form(client: Client, run: Path, photos: list[Path]) -> None:
    expected = hs.load(run).predict_proba(photos[:3]).round(6).tolist()
    data = [photo.read_bytes() for photo in photos[:3]]
    items = [{"data": base64.b64encode(one).decode(), "name": f"{at}"} for at, one in enumerate(data)]
    as_json = {"content-type": "application/json"}
    status, found, _ = client.ask(
        "POST", "/v1/predict", json.dumps({"items": items, "every_class": True}).encode(), as_json
    )
    assert (
        status == 200 and found["model"] == "toys" and [one["name"] for one in found["predictions"]] == ["0", "1", "2"]
    )
    shares = [[one["probabilities"][name] for name in ("class0", "class1")] for one in found["predictions"]]
    np.testing.assert_allclose(shares, expected, atol=1.1e-6)
    body = form(*[part(one) for one in data]).partition(b"\r\n\r\n")[2]
    status, as_form, _ = client.ask("POST", "/v1/predict", body, {"content-type": "multipart/form-data; boundary=b"})
    status, alone, _ = client.ask("POST", "/v1/predict", data[0], {"content-type": "image/jpeg"})
    for one, other in zip(
        [*as_form["predictions"], alone["predictions"][0]],
        [*found["predictions"], found["predictions"][0]],
        strict=True,
    ):
        assert one.items() - {("name", one["name"])} <= other.items()


def test_hostile_requests_are_refused_with_a_reason_and_the_server_lives_on__SRV_05__SRV_06__SRV_07__SRV_09__SRV_10(
    run: Path, photos: list[Path], loopback: None
) -> None:
    requests = hostile_requests(photos[0].read_bytes())
    slow = ("JPEG of many scans", "bomb", "ends early", "another boundary")  # in tests of their own, or waited for
    with serving({"toys": run}, hosts=("localhost", "127.0.0.1")) as client:
        for name, data in requests.items():
            if any(word in name for word in slow):
                continue
            answer = client.send(data)
            assert 400 <= int(answer[9:12]) < 500, (name, answer[:300])
            assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]) > 3, name
        assert client.send(picture(photos[0].read_bytes()))[9:12] == b"200"
        lines = client.lines()
    assert {line["status"] for line in lines} <= {200, *REFUSALS, 405} and len(requests) >= 60
    shown = json.dumps(lines)
    assert "169.254" not in shown and "nnnn" not in shown and "a.jpg" not in shown


def test_other_addresses(client: Client) -> None:
    assert client.ask("GET", "/healthz")[:2] == (200, {"alive": True})
    assert client.ask("GET", "/readyz")[:2] == (200, {"ready": True})
    (model,) = client.ask("GET", "/v1/models")[1]["models"]
    assert (model["name"], model["reads"], model["classes"]) == ("toys", "image", ["class0", "class1"])
    assert "headstart_requests_total" in client.ask("GET", "/metrics")[1]
    for path in ("/", "/docs"):
        status, page, headers = client.ask("GET", path)
        assert status == 200 and "default-src 'none'" in headers["content-security-policy"]
        assert "//" not in page.replace("http://www.w3.org/2000/svg", "").partition("<body>")[0]
    assert "/v1/predict" in client.ask("GET", "/openapi.json")[1]["paths"] and "every_class" in page


def test_a_token_is_asked_for(run: Path, photos: list[Path], loopback: None) -> None:
    with serving({"toys": run}, token=TOKEN) as client:
        assert [client.ask("GET", path)[0] for path in ("/", "/healthz", "/v1/models", "/metrics", "/docs")] == [
            200, 200, 401, 401, 401,
        ]  # fmt: skip
        for value in ("Bearer wrong", TOKEN, "Basic " + TOKEN, "Bearer \xe9"):
            assert client.ask("GET", "/v1/models", headers={"authorization": value})[0] == 401
        assert client.ask("GET", "/v1/models", headers={"authorization": f"Bearer {TOKEN}"})[0] == 200
        assert TOKEN not in client.log.getvalue()


def test_a_page_of_another_site_is_refused__SRV_11(run: Path, loopback: None) -> None:
    with serving({"toys": run}, hosts=("localhost", "[::1]")) as client:
        post = {"content-type": "image/png"}
        for odd in ({"host": "evil.example"}, {"host": "localhost", "origin": "http://evil.example"}):
            assert client.ask("POST", "/v1/predict", b"x", post | odd)[0] == 403
        assert (
            client.ask("POST", "/v1/predict", b"x", post | {"host": "localhost", "sec-fetch-site": "cross-site"})[0]
            == 403
        )
        same = {"host": "localhost:8000", "origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}
        assert client.ask("POST", "/v1/predict", b"x", post | same)[0] == 422
        assert client.ask("GET", "/v1/models", headers={"host": "[::1]:80"})[0] == 200


def test_a_large_body_is_answered_while_it_is_still_sent__SRV_02(client: Client) -> None:
    chunk = b"%x\r\n%b\r\n" % (1 << 16, bytes(1 << 16))
    head = raw("POST", "/v1/predict", {"Content-Type": "image/jpeg", "Transfer-Encoding": "chunked"}).replace(
        b"Content-Length: 0\r\n", b""
    )
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        connection.sendall(head + chunk * 17)  # a little more than may be
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_half_open_connections_end_while_others_are_answered__SRV_03(run: Path, loopback: None) -> None:
    kinds = (b"", b"GET / HTTP/1.1\r\nHost: x", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET / HT")
    with serving({"toys": run}, patience=0.2) as client:
        opened = [socket.create_connection(("127.0.0.1", client.port), timeout=10) for _ in kinds]
        for connection, beginning in zip(opened, kinds, strict=True):
            connection.sendall(beginning)
        assert client.ask("GET", "/healthz")[0] == 200
        for connection in opened:
            with connection, suppress(ConnectionResetError):
                while connection.recv(4096):
                    pass


def test_many_at_once_are_all_answered__SRV_04(client: Client, photos: list[Path]) -> None:
    data, batcher = photos[0].read_bytes(), client.site.models["toys"].current.batcher
    as_picture, statuses = {"content-type": "image/jpeg"}, list[int]()
    threads = [
        threading.Thread(target=lambda: statuses.append(client.ask("POST", "/v1/predict", data, as_picture)[0]))
        for _ in range(60)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == 60 and set(statuses) <= {200, 503}

    batcher.admit(10_000)
    status, found, headers = client.ask("POST", "/v1/predict", data, as_picture)
    assert (status, found["error"], headers["retry-after"]) == (503, "too much is waiting: try again", "1")
    assert client.ask("GET", "/readyz")[0] == 503
    batcher.withdraw(10_000)
    assert client.ask("POST", "/v1/predict", data, as_picture)[0] == 200 == client.ask("GET", "/readyz")[0]


def test_what_was_accepted_is_answered_at_the_end(run: Path, photos: list[Path], loopback: None) -> None:
    answers: list[bytes] = []
    with serving({"toys": run}) as client:
        data = picture(photos[0].read_bytes())
        opened = [socket.create_connection(("127.0.0.1", client.port), timeout=20) for _ in range(10)]
        for connection in opened:
            connection.sendall(data)
        client.server.should_exit = True
        for connection in opened:
            with connection:
                answers.append(connection.recv(12))
    assert answers == [b"HTTP/1.1 200"] * 10


def test_a_bundle_is_swapped_under_load_without_a_lost_request__SRV_12(
    run: Path, photos: list[Path], tmp_path: Path, loopback: None
) -> None:
    bundle = shutil.copytree(run / "bundle", tmp_path / "toys" / "bundle")
    other, data = small_run(tmp_path, seed=1) / "bundle", photos[0].read_bytes()
    answers, ended = list[tuple[int, str]](), threading.Event()
    with serving({"toys": bundle.parent}) as client:

        def ask() -> None:
            while not ended.is_set():
                status, found, _ = client.ask("POST", "/v1/predict", data, {"content-type": "image/jpeg"})
                answers.append((status, found.get("version", "")))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        served = client.site.models["toys"]
        before = served.current.version
        while len(answers) < 8:
            time.sleep(0.01)
        write_folder(bundle, {file.name: file.read_bytes() for file in other.iterdir()})
        while served.current.version == before:
            time.sleep(0.01)  # the server itself looks
        swapped = len(answers)
        while len(answers) < swapped + 8:
            time.sleep(0.01)
        ended.set()
        for thread in threads:
            thread.join()
        assert {status for status, _ in answers} == {200}
        assert {version for _, version in answers} == {before, served.current.version} and answers[-1][1] != before


def test_a_failure_of_ours_is_503_and_logged(run: Path, loopback: None) -> None:
    def fail() -> None:
        raise RuntimeError("planted")

    with serving({"toys": run}) as client:
        client.site.models["toys"].describe = fail  # type: ignore[assignment]
        assert client.ask("GET", "/v1/models")[0] == 503
    assert any("planted" in line.get("reason", "") and line["level"] == "error" for line in client.lines())


def test_counts_and_lines_hold_no_contents(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = Metrics()
    metrics.on_group("x", 3, 0.5)
    assert b'headstart_items_total{model="x"} 3.0' in metrics.page()
    JsonLog()("bundle not replaced", level="warning", reason="see https://u:secret@host/")
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "bundle not replaced" and "secret" not in line["reason"]
    assert LIMITS.body == 1 << 20 and guard.LINGER > 0
