"""Requests to a hub that lose no time and no secret: bounded retries, resumed bodies, redirects that are looked at."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import ip_address
from typing import BinaryIO
from urllib.error import URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 5
RETRYABLE_STATUSES = (408, 416, 429, 500, 502, 503, 504)
"""What a later try may mend; every other refusal is final."""
CHUNK_BYTES = 1 << 16  # bytes; fewer than these within the whole of the time without progress count as silence


@dataclass(frozen=True)
class Limits:
    """How often, and for how long, a file is asked for again."""

    retries: int = 5  # further tries after the first, over all that goes wrong with one file
    seconds: float = 60.0  # without progress, over all tries and the waits between them
    silence: float = 10.0  # seconds that one try waits for the next byte
    pause: float = 0.5  # seconds before the first further try; doubled each time


class HubError(Exception):
    """A hub did not give what was asked."""

    def __init__(
        self,
        reason: str,  # what it gave instead, as a clause
        *,
        status: int = 0,  # of its answer; 0 where there was none
        code: str = "",  # its own word for the reason (`X-Error-Code`)
        wait: float = 0.0,  # seconds that it asks to wait
        retryable: bool = True,  # whether a later try may mend it
    ) -> None:
        self.reason, self.status, self.code, self.wait, self.retryable = reason, status, code, wait, retryable
        super().__init__(reason)


class RetryPolicy:
    """What is left of the limits of one file."""

    def __init__(self, limits: Limits, sleep: Callable[[float], None] = time.sleep) -> None:
        self.limits, self._sleep = limits, sleep
        self._left, self._pause, self._since = limits.retries, limits.pause, time.monotonic()

    def progress(self) -> None:
        """Count the time from here."""
        self._since = time.monotonic()

    @property
    def remaining(self) -> float:
        """Seconds that may pass without progress."""
        return self._since + self.limits.seconds - time.monotonic()

    @property
    def timeout(self) -> float:
        """Seconds that the next try may wait for a byte."""
        return max(0.01, min(self.limits.silence, self.remaining))

    def wait_or_raise(self, failed: HubError) -> None:
        """Wait before a further try; raise `failed` itself where no try can mend it or none is left."""
        wait = max(failed.wait, self._pause)
        if not failed.retryable or not self._left or wait >= self.remaining:
            raise failed
        self._left -= 1
        self._pause *= 2
        self._sleep(wait)


@dataclass(frozen=True)
class Client:
    """Requests to one hub."""

    endpoint: str  # its address; the token goes there and nowhere else
    token: str | None  # who asks; None for nobody
    agent: str  # what asks
    limits: Limits = Limits()
    sleep: Callable[[float], None] = time.sleep

    def head(self, url: str, *, insist: bool = True) -> Message:
        """Return the headers of the first answer that says which file it is about; HubError where there is none.

        Without `insist` the hub is not asked again where there is no answer at all.
        """
        policy = RetryPolicy(self.limits, self.sleep)
        while True:
            try:
                with self._answer("HEAD", url, {}, policy.timeout) as answer:
                    return answer.headers
            except HubError as failed:
                if not failed.status and not insist:
                    raise
                policy.wait_or_raise(failed)

    def download(self, url: str, part: BinaryIO, size: int) -> None:
        """Append to `part` what it lacks of `size` bytes; at a HubError, the next call goes on from what came."""
        policy = RetryPolicy(self.limits, self.sleep)
        while part.tell() < size:
            try:
                self._append(url, part, size, policy)
            except HubError as failed:
                if failed.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # what we hold is of another file
                    part.seek(0)
                    part.truncate()
                policy.wait_or_raise(failed)

    def _append(self, url: str, part: BinaryIO, size: int, policy: RetryPolicy) -> None:
        start = part.tell()
        span = {"Range": f"bytes={start}-"} if start else {}
        with self._answer("GET", url, span, policy.timeout) as answer:
            goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            if start and not (goes_on and answer.status == HTTPStatus.PARTIAL_CONTENT):
                part.seek(0)
                part.truncate()
            _copy(answer, part, size, policy)
        if part.tell() < size:
            raise HubError(f"{part.tell():,} of {size:,} bytes")

    def _answer(self, method: str, url: str, headers: Mapping[str, str], timeout: float) -> http.client.HTTPResponse:
        """Return the answer to a request, followed where it is sent on to; errors become `HubError`."""
        for _ in range(MAX_REDIRECTS + 1):
            self._check(url)
            answer = _send(Request(url, method=method, headers=self._headers(url, headers)), timeout)  # noqa: S310
            described = method == "HEAD" and answer.headers.get("X-Linked-Etag") and answer.headers.get("X-Repo-Commit")
            if answer.status not in REDIRECTS or described:
                if answer.status >= HTTPStatus.BAD_REQUEST:
                    with answer:
                        raise _refusal(answer)
                return answer
            answer.close()
            location = answer.headers.get("Location", "")
            try:
                url = urljoin(url, location)
            except ValueError as error:
                raise HubError(f"a redirect to {location!r}", retryable=False) from error
        raise HubError(f"more than {MAX_REDIRECTS} redirects", retryable=False)

    def _headers(self, url: str, headers: Mapping[str, str]) -> dict[str, str]:
        sent = {"User-Agent": self.agent, "Accept-Encoding": "identity", **headers}
        if self.token and _origin(url) == _origin(self.endpoint):
            sent["Authorization"] = f"Bearer {self.token}"
        return sent

    def _check(self, url: str) -> None:
        """Raise HubError for an address in the clear or on this machine, unless the hub itself is on this machine."""
        target, home = urlsplit(url), urlsplit(self.endpoint)
        if target.scheme not in ("http", "https") or not target.hostname:
            raise HubError(f"a redirect to {url!r}", retryable=False)
        at_home = is_loopback(home.hostname)
        if target.scheme == "http" and not (at_home and is_loopback(target.hostname)):
            raise HubError(f"an address without encryption ({target.scheme}://{target.netloc})", retryable=False)
        if is_loopback(target.hostname) and not at_home:
            raise HubError(f"a redirect to this machine itself ({target.netloc})", retryable=False)


def is_loopback(host: str | None) -> bool:
    """Return whether `host` is this machine itself."""
    if host is None:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _send(request: Request, timeout: float) -> http.client.HTTPResponse:
    """Return the answer, whatever its status; proxies are those that the environment names."""
    opener = OpenerDirector()
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    try:
        answer: http.client.HTTPResponse = opener.open(request, timeout=timeout)
    except URLError as error:
        unsafe = isinstance(error.reason, ssl.SSLCertVerificationError)
        raise HubError(f"no connection ({error.reason})", retryable=not unsafe) from error
    except (OSError, http.client.HTTPException) as error:
        raise HubError(f"no answer ({_name_of(error)})") from error
    return answer


def _copy(answer: http.client.HTTPResponse, part: BinaryIO, size: int, policy: RetryPolicy) -> None:
    """Copy a body chunk by chunk, as its bytes come, up to `size` bytes in all."""
    marked = part.tell()
    while part.tell() < size and policy.remaining > 0:
        try:
            chunk = answer.read1(min(CHUNK_BYTES, size - part.tell()))
        except (OSError, http.client.HTTPException) as error:
            raise HubError(f"{part.tell():,} of {size:,} bytes, then {_name_of(error)}") from error
        if not chunk:
            return
        part.write(chunk)
        if part.tell() - marked >= CHUNK_BYTES:
            marked = part.tell()
            policy.progress()


def _refusal(answer: http.client.HTTPResponse) -> HubError:
    phrases = {status.value: status.phrase for status in HTTPStatus}
    return HubError(
        f"{answer.status} {phrases.get(answer.status, answer.reason)}",
        status=answer.status,
        code=answer.headers.get("X-Error-Code", ""),
        wait=_seconds(answer.headers.get("Retry-After", "")),
        retryable=answer.status in RETRYABLE_STATUSES,
    )


def _seconds(after: str) -> float:
    """Return the seconds that a `Retry-After` header asks for, as a number or a date; 0 for none."""
    if after.isdecimal():
        return float(after)
    try:
        return max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
    except ValueError:
        return 0.0


def _name_of(error: Exception) -> str:
    return "silence" if isinstance(error, TimeoutError) else f"{type(error).__name__} {error}".strip()
