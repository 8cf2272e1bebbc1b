"""Files of a hub: pinned, checked, resumed; every refusal one line that says what to do."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest
from hub_server import Hub, half, redirect, serve, status, wrong_bytes

from headstart.base.disk import process_lock
from headstart.base.errors import SourceError
from headstart.sources.hub.client import Client, HubError, Limits
from headstart.sources.hub.repository import SMALL, HubFile, Repository, default_client

NAME = "org/tiny"
WEIGHTS = "model.safetensors"
FILES = {"config.json": b'{"model_type": "vit"}', WEIGHTS: bytes(range(256)) * 1000}
NEWER = {**FILES, WEIGHTS: bytes(reversed(range(256))) * 1000}


QUICK = Limits(retries=5, seconds=2.0, silence=0.3, pause=0.01)


def repository(revision: str | None = None, *, sleep: Callable[[float], None] = time.sleep) -> Repository:
    uri = f"hf:{NAME}" + (f"@{revision}" if revision else "")
    return Repository(NAME, revision, uri=uri, client=replace(default_client(), limits=QUICK, sleep=sleep))


def get(file: str = WEIGHTS, revision: str | None = None, **how: Callable[[float], None]) -> HubFile:
    return repository(revision, **how).get(file)


def refused(what: str, file: str = WEIGHTS, revision: str | None = None, **how: Callable[[float], None]) -> str:
    with pytest.raises(SourceError, match=what) as caught:
        get(file, revision, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def cache_folder(tmp_path: Path) -> Path:
    return tmp_path / "hub" / "models--org--tiny"


def test_a_file_comes_whole_and_is_found_again_by_the_hub_s_own_library(hub: Hub) -> None:
    from huggingface_hub import try_to_load_from_cache

    commit = hub.add(NAME, FILES)
    for file, data in FILES.items():
        found = get(file)
        assert found.path.read_bytes() == data
        assert found.commit == commit
        assert found.sha256 == hashlib.sha256(data).hexdigest()
        assert try_to_load_from_cache(NAME, file) == str(found.path)


def test_what_the_hub_s_own_library_fetched_is_used(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants, hf_hub_download

    hub.add(NAME, FILES)
    # The library reads HF_ENDPOINT when it is imported, and makes its addresses of it there and then.
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    path = hf_hub_download(NAME, "config.json")
    asked = len(hub.requests("GET"))
    assert str(get("config.json").path) == path
    assert len(hub.requests("GET")) == asked


def test_all_files_are_of_one_commit_though_the_branch_moves_between_them(hub: Hub) -> None:
    commit = hub.add(NAME, FILES)
    opened = repository()
    opened.get("config.json")
    hub.add(NAME, NEWER)
    assert opened.get(WEIGHTS).commit == commit
    assert opened.get(WEIGHTS).path.read_bytes() == FILES[WEIGHTS]


def test_a_file_that_is_absent_is_asked_for_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = hub.add(NAME, FILES)
    opened = repository()
    opened.get("config.json")
    assert opened.find("README.md") is None
    asked = len(hub.asked)
    assert repository(commit).find("README.md") is None
    monkeypatch.setenv("HEADSTART_OFFLINE", "1")
    assert repository().find("README.md") is None
    assert len(hub.asked) == asked
    with pytest.raises(SourceError, match=r"must hold README\.md at revision main"):
        repository().get("README.md")


def test_offline_names_the_file_and_the_command_and_a_warm_cache_works__HUB_01(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.add(NAME, FILES)
    monkeypatch.setenv("HEADSTART_OFFLINE", "1")
    said = refused("needs model.safetensors of org/tiny")
    assert said.endswith("run once with a network: headstart sources hf:org/tiny")
    assert refused("offline", revision="v1").endswith("headstart sources hf:org/tiny@v1")
    assert not hub.asked
    monkeypatch.setenv("HEADSTART_OFFLINE", "0")
    get()
    asked = len(hub.asked)
    monkeypatch.setenv("HEADSTART_OFFLINE", "1")
    assert get().commit == get(revision=commit).commit == commit
    assert len(hub.asked) == asked


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (status(401), "a private or gated repository, or none of that name; log in .run: hf auth login., or check"),
        (status(401, X_Error_Code="GatedRepo"), "no access; ask for it at http://127.0.0.1:[0-9]+/org/tiny"),
        (status(403), "403 Forbidden: no access; ask for it at http://127.0.0.1:[0-9]+/org/tiny"),
        (status(404), "no such name or revision; check the spelling"),
        (status(404, X_Error_Code="RepoNotFound"), "at revision main; found 404 Not Found: no such name;"),
        (status(418), "found 418 .*; check HF_ENDPOINT, or name another source"),
    ],
)
def test_a_refusal_says_what_to_do__HUB_02(hub: Hub, answer, said: str) -> None:
    hub.add(NAME, FILES)
    hub.fail(answer)
    refused(said)
    assert len(hub.asked) == 1


def test_a_name_and_a_revision_that_are_not_there__HUB_02(hub: Hub) -> None:
    refused("hf:org/tiny must exist on 127.0.0.1:[0-9]+ at revision main; found .*: no such name;")
    hub.add(NAME, FILES)
    refused("found .*: no revision 'v9';", revision="v9")


def test_a_mirror_that_only_says_404_for_a_missing_file(hub: Hub) -> None:
    hub.add(NAME, FILES)
    hub.fail(status(404), file="README.md")
    opened = repository()
    opened.get("config.json")
    assert opened.find("README.md") is None


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_busy_hub_is_asked_again_a_few_times__HUB_03(hub: Hub, method: str, code: int) -> None:
    hub.add(NAME, FILES)
    hub.fail(status(code), method=method, times=5)
    assert get().path.read_bytes() == FILES[WEIGHTS]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("code", [429, 503])
def test_a_hub_that_stays_busy_is_an_error__HUB_03(hub: Hub, method: str, code: int) -> None:
    hub.add(NAME, FILES)
    hub.fail(status(code), method=method)
    waits: list[float] = []
    refused(f"must give {WEIGHTS} of hf:org/tiny; found {code} .*; run again: what came is kept", sleep=waits.append)
    assert waits == [0.01, 0.02, 0.04, 0.08, 0.16]
    assert sum(1 for asked in hub.requests(method) if method == "HEAD" or "/cdn/" not in asked[1]) == 6


def test_the_wait_that_a_hub_asks_for_is_kept_or_said__HUB_03(hub: Hub) -> None:
    hub.add(NAME, FILES)
    hub.fail(status(429, Retry_After="1"), method="HEAD", times=1)
    waits: list[float] = []
    get("config.json", sleep=waits.append)
    assert waits == [1.0]
    hub.fail(status(429, Retry_After="3600"), method="HEAD", times=1)
    refused("found 429 Too Many Requests; wait 3600 s and run again")
    hub.fail(status(503, Retry_After=formatdate(time.time() + 600, usegmt=True)), method="HEAD", times=1)
    refused("wait (600|59.) s and run again")
    hub.fail(status(503, Retry_After="soon"), method="HEAD", times=1)
    get()


def test_the_limits_are_those_that_are_promised__HUB_03() -> None:
    limits = default_client().limits
    assert (limits.retries, limits.seconds) == (5, 60)


def test_half_a_body_and_silence_is_resumed__HUB_04(hub: Hub) -> None:
    hub.add(NAME, FILES)
    hub.fail(half(silence=1.0), method="GET", file=WEIGHTS, times=0)
    hub.fail(half(silence=1.0), method="GET", file=f"cdn/{NAME}/{hub.branches[NAME, 'main']}/{WEIGHTS}", times=2)
    assert get().path.read_bytes() == FILES[WEIGHTS]
    spans = [headers.get("Range") for _, path, headers in hub.requests("GET", WEIGHTS) if path.startswith("/cdn/")]
    assert spans == [None, "bytes=128000-", "bytes=192000-"]


def test_a_download_goes_on_in_another_process__HUB_04(hub: Hub, cache_folder: Path) -> None:
    hub.add(NAME, FILES)
    hub.fail(half(part=0.2), method="GET", file=WEIGHTS, times=0)
    cdn = f"cdn/{NAME}/{hub.branches[NAME, 'main']}/{WEIGHTS}"
    hub.fail(half(part=0.1), method="GET", file=cdn, times=6)
    refused("found [0-9,]+ of 256,000 bytes; run again: what came is kept")
    (part,) = (cache_folder / "blobs").glob("*.incomplete")
    held = part.stat().st_size
    assert held > 100_000
    hub.asked.clear()
    assert get().path.read_bytes() == FILES[WEIGHTS]
    assert [headers["Range"] for _, path, headers in hub.requests("GET") if path.startswith("/cdn/")] == [
        f"bytes={held}-"
    ]
    assert not part.exists()


def test_bytes_that_only_drip_are_an_error_in_time__HUB_04(hub: Hub) -> None:
    def drip(handler, data: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        try:
            for byte in data:
                handler.wfile.write(bytes([byte]))
                time.sleep(0.05)
        except OSError:
            handler.close_connection = True

    hub.add(NAME, FILES)
    hub.fail(drip, method="GET")
    refused("of 256,000 bytes; run again")  # all of it would take hours


def test_a_hub_that_cannot_resume_starts_over__HUB_04(hub: Hub) -> None:
    hub.add(NAME, FILES)
    hub.fail(half(), method="GET", file=f"main/{WEIGHTS}", times=0)
    cdn = f"cdn/{NAME}/{hub.branches[NAME, 'main']}/{WEIGHTS}"
    hub.fail(half(), method="GET", file=cdn, times=1)
    hub.fail(lambda handler, data: handler.reply(200, {}, data), method="GET", file=cdn, times=1)
    assert get().path.read_bytes() == FILES[WEIGHTS]


def test_a_part_that_the_hub_has_no_range_for_is_thrown_away__HUB_04(hub: Hub) -> None:
    hub.add(NAME, FILES)
    cdn = f"cdn/{NAME}/{hub.branches[NAME, 'main']}/{WEIGHTS}"
    hub.fail(half(), method="GET", file=cdn, times=1)
    hub.fail(status(416), method="GET", file=cdn, times=1)
    assert get().path.read_bytes() == FILES[WEIGHTS]


@pytest.mark.parametrize("file", FILES)
def test_the_right_size_with_wrong_bytes_is_refused_and_heals__HUB_05(hub: Hub, cache_folder: Path, file: str) -> None:
    hub.add(NAME, FILES)
    hub.fail(wrong_bytes, method="GET", file=file, times=1)
    refused("must have the checksum that the hub states; found other bytes, which were removed; run again", file)
    assert not list((cache_folder / "blobs").iterdir())
    assert get(file).path.read_bytes() == FILES[file]


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_was_damaged_in_the_cache_is_removed_and_heals__HUB_05(hub: Hub, file: str) -> None:
    hub.add(NAME, FILES)
    path = get(file).path
    path.resolve().write_bytes(bytes(len(FILES[file])))
    assert str(path) in refused("must have the checksum", file)
    assert get(file).path.read_bytes() == FILES[file]


def test_a_token_goes_to_the_hub_and_nowhere_else__HUB_06(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    commit = hub.add(NAME, FILES)
    with serve() as other:
        other.commits[NAME, commit] = FILES
        hub.fail(redirect(f"{other.url}/cdn/{NAME}/{commit}/{WEIGHTS}"), method="GET")
        assert get().path.read_bytes() == FILES[WEIGHTS]
        assert all(headers["Authorization"] == "Bearer hf_secret" for _, _, headers in hub.asked)
        ((_, _, headers),) = other.asked
    assert "secret" not in str(headers)


@pytest.mark.parametrize("target", ["http://example.com/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "//[", ""])
def test_a_redirect_that_leaves_safety_is_refused__HUB_06(hub: Hub, target: str) -> None:
    hub.add(NAME, FILES)
    hub.fail(redirect(target), method="GET")
    refused("an address without encryption|a redirect to|more than 5 redirects")


def test_where_a_hub_may_send_us__HUB_06() -> None:
    far = Client("https://hub.example", "hf_secret", "test")
    near = Client("http://127.0.0.1:8000", "hf_secret", "test")
    for client, url in (
        (far, "https://cdn.example/x"),
        (near, "http://127.0.0.1:9/x"),
        (near, "https://cdn.example/x"),
    ):
        client._check(url)
        assert "Authorization" not in client._headers(url, {})
    for client, url in (
        (far, "http://hub.example/x"),
        (far, "https://127.0.0.1/x"),
        (far, "https://localhost/x"),
        (far, "https://[::1]/x"),
        (near, "http://hub.example/x"),
        (Client("http://hub.example", "hf_secret", "test"), "http://hub.example/x"),
    ):
        with pytest.raises(HubError):
            client._check(url)
    assert far._headers("https://hub.example/x", {})["Authorization"] == "Bearer hf_secret"
    for url in ("https://hub.example:444/x", "http://hub.example/x", "https://hub.example.org/x"):
        assert "Authorization" not in far._headers(url, {})


def test_a_branch_that_moved_is_looked_up_anew_and_said__HUB_07(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    first = hub.add(NAME, FILES)
    assert get().commit == first
    second = hub.add(NAME, NEWER)
    monkeypatch.setenv("HEADSTART_OFFLINE", "1")
    assert get().commit == first
    monkeypatch.delenv("HEADSTART_OFFLINE")
    opened = repository()
    assert opened.get(WEIGHTS).path.read_bytes() == NEWER[WEIGHTS]
    assert opened.commit == second
    assert opened.notes == [
        f"main of org/tiny has moved from {first} to {second}; to stay with the former, name hf:org/tiny@{first}"
    ]
    asked = len(hub.asked)
    assert get(revision=first).path.read_bytes() == FILES[WEIGHTS]
    assert len(hub.asked) == asked


def test_where_no_hub_answers_the_last_commit_is_used_and_said(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    commit = hub.add(NAME, FILES)
    get()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    opened = repository(sleep=lambda seconds: pytest.fail("waited"))
    assert opened.get(WEIGHTS).commit == commit
    (note,) = opened.notes
    assert note == f"127.0.0.1:9 does not answer: commit {commit} of org/tiny is used, as last time"
    said = refused("127.0.0.1:9 must give model.safetensors", revision="other")
    assert "no connection" in said


def test_a_lock_left_behind_is_no_obstacle__HUB_08(hub: Hub, tmp_path: Path, cache_folder: Path) -> None:
    hub.add(NAME, FILES)
    etag = hashlib.sha256(FILES[WEIGHTS]).hexdigest()
    locks = tmp_path / "hub" / ".locks" / cache_folder.name
    locks.mkdir(parents=True)
    (locks / f"{etag}.lock").touch()
    (cache_folder / "blobs").mkdir(parents=True)
    (cache_folder / "blobs" / f"{etag}.headstart.incomplete").write_bytes(FILES[WEIGHTS][:1000])
    assert get().path.read_bytes() == FILES[WEIGHTS]


def test_a_process_that_holds_a_download_and_stands_still_is_named__HUB_08(hub: Hub, cache_folder: Path) -> None:
    hub.add(NAME, FILES)
    (cache_folder / "blobs").mkdir(parents=True)
    part = cache_folder / "blobs" / f"{hashlib.sha256(FILES[WEIGHTS]).hexdigest()}.headstart.incomplete"
    with process_lock(part.with_name(f"{part.name}.lock")):
        said = refused("must be free to download; found another process that holds it")
    assert str(part) in said
    get()


def test_a_cache_that_cannot_be_used_is_named__HUB_08(
    hub: Hub, tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, FILES)
    (tmp_path / "hub").write_text("a file in place of the folder")
    assert str(tmp_path / "hub") in refused("must be yours to read and write; .* set HF_HOME to a folder of your own")
    (tmp_path / "hub").unlink()
    get()

    def foreign(self: Path, *given: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "readlink", foreign)
        assert str(cache_folder) in refused("yours to read and write; found Permission denied")
    shutil.rmtree(cache_folder)
    monkeypatch.setattr(Path, "mkdir", foreign)
    assert str(cache_folder) in refused("yours to read and write; found Permission denied")


def test_a_git_lfs_pointer_is_named__HUB_08(hub: Hub) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"
    hub.add(NAME, {WEIGHTS: pointer})
    said = refused("must hold the file itself; found a Git LFS pointer in its place; delete it and run again")
    assert WEIGHTS in said


@pytest.mark.parametrize("file", ["../../evil", "a/../../evil", "/etc/passwd", "a\\..\\b", "a//b", ".", "a/./b"])
def test_a_file_name_that_leads_out_is_refused__CKP_11(hub: Hub, file: str) -> None:
    refused("must lie in its own folder", file)
    assert not hub.asked


@pytest.mark.parametrize("name", ["../evil", "a/b/c", "", "a/..", "a b/c", "org/--x", "/org"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(SourceError, match="must name a repository ORG/NAME"):
        Repository(name, None, uri=f"hf:{name}")


@pytest.mark.parametrize("revision", ["../evil", "a/../b", "/a", "a b", "a//b"])
def test_a_revision_that_is_none(revision: str) -> None:
    with pytest.raises(SourceError, match="must be a branch, tag or commit"):
        Repository(NAME, revision, uri="hf:x")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Repo-Commit": "../../evil", "ETag": '"a"', "Content-Length": "3"},
        {"X-Repo-Commit": "0" * 40, "ETag": '"../evil"', "Content-Length": "3"},
        {"X-Repo-Commit": "0" * 40, "Content-Length": "3"},
        {"ETag": '"abc"', "Content-Length": "3"},
    ],
)
def test_headers_that_would_lead_out_are_refused__CKP_11(hub: Hub, headers: dict[str, str]) -> None:
    hub.add(NAME, FILES)
    hub.fail(lambda handler, data: handler.reply(200, headers))
    refused("an answer without commit, checksum or size")


def test_settings_of_many_megabytes_are_not_fetched(hub: Hub) -> None:
    hub.add(NAME, {"config.json": b" " * (SMALL + 1)})
    with pytest.raises(SourceError, match="must have at most 8,388,608 bytes"):
        repository().get("config.json", limit=SMALL)
    assert not hub.requests("GET")


def test_a_nested_branch_and_a_tag(hub: Hub) -> None:
    commit = hub.add(NAME, FILES, branch="refs/pr/1")
    assert get(revision="refs/pr/1").commit == commit
    hub.branches[NAME, "v1.0"] = commit
    assert get(revision="v1.0").commit == commit
