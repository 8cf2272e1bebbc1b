"""The addresses that a server answers, as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from headstart import __version__
from headstart.serving.guard import PREDICT, App, Guard, JsonLog
from headstart.serving.metrics import CONTENT_TYPE, Metrics
from headstart.serving.page import Page, docs_page, front_page
from headstart.serving.payload import Bodies, Limits, RequestError
from headstart.serving.site import Site

ITEM = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "Given back with the answer; never read as a path."},
        "data": {"type": "string", "format": "byte", "description": "The bytes of a photo or recording, in base64."},
        "text": {"type": "string", "description": "A text, in place of `data`."},
    },
}
MODEL = {"type": "string", "description": "The name of a model. The default is the first."}
EVERY_CLASS = {"type": "boolean", "description": "Give the probability of every class. The default is false."}
JSON_BODY = {
    "type": "object",
    "required": ["items"],
    "properties": {"items": {"type": "array", "items": ITEM}, "model": MODEL, "every_class": EVERY_CLASS},
}
FORM = {
    "type": "object",
    "properties": {
        "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
        "text": {"type": "array", "items": {"type": "string"}},
        "model": MODEL,
        "every_class": EVERY_CLASS,
    },
}
BYTES = {"type": "string", "format": "binary"}
BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": FORM},
        "application/json": {"schema": JSON_BODY},
        **{kind: {"schema": BYTES} for kind in ("image/*", "audio/*", "application/octet-stream")},
        "text/plain": {"schema": {"type": "string"}},
    },
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The body is not one that is read; the reason is in `error`."},
    401: {"description": "The token is missing or another."},
    403: {"description": "The request is for another host, or comes from a page of another site."},
    404: {"description": "There is no such model."},
    408: {"description": "The body came too slowly."},
    413: {"description": "The body is too large, or holds too many items."},
    415: {"description": "The content type is none that is read."},
    422: {"description": "None of the items can be used; the reasons are in `error`."},
    503: {"description": "Too much is waiting: try again after the seconds of the header `Retry-After`."},
}


def make_app(
    site: Site,
    *,
    limits: Limits,
    metrics: Metrics,
    log: JsonLog,
    token: str | None = None,
    hosts: tuple[str, ...] = (),
    page: Page | None = None,
) -> App:
    """Return the application; see `guard.Guard` for `token` and `hosts`. `page` is the one at `/`, by default ours."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        site.start()
        yield
        await site.stop()

    app = FastAPI(title="headstart", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    _add_predict(app, site, Bodies(limits))
    _add_others(app, site, metrics, page or front_page())
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _refused)
    paths = tuple(path for route in app.routes if (path := getattr(route, "path", None)))
    return Guard(app, token=token, hosts=hosts, is_full=lambda: site.is_full, paths=paths, metrics=metrics, log=log)


def _add_predict(app: FastAPI, site: Site, bodies: Bodies) -> None:
    @app.post(
        PREDICT,
        summary="Classify photos, texts or recordings.",
        responses=REFUSALS,
        openapi_extra={"requestBody": BODY},
    )
    async def predict(request: Request) -> JSONResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        payload = await bodies.payload(request.receive, headers)
        answer = await site.predict(payload)
        request.state.noted |= {"items": len(payload.items), "failed": answer["failed"], "model": answer["model"]}
        return JSONResponse(answer)


def _add_others(app: FastAPI, site: Site, metrics: Metrics, page: Page) -> None:
    pages = {"/": page}

    @app.get("/v1/models", summary="List the models.", responses={401: REFUSALS[401]})
    async def models() -> JSONResponse:
        return JSONResponse({"models": [served.describe() for served in site.models.values()]})

    @app.get("/healthz", summary="Tell that the process lives.")
    async def healthz() -> JSONResponse:
        return JSONResponse({"alive": True})

    @app.get("/readyz", summary="Tell whether a request would be answered now.", responses={503: REFUSALS[503]})
    async def readyz() -> JSONResponse:
        ready = not site.is_full
        return JSONResponse({"ready": ready}, 200 if ready else 503, None if ready else {"Retry-After": "1"})

    @app.get("/metrics", summary="Count what happened, for Prometheus.", responses={401: REFUSALS[401]})
    async def prometheus() -> Response:
        for name, served in site.models.items():
            metrics.waiting.labels(name).set(served.current.batcher.admitted)
        return Response(metrics.page(), headers={"content-type": CONTENT_TYPE})

    @app.get("/", include_in_schema=False)
    async def front() -> HTMLResponse:
        return _html(pages["/"])

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        if "/docs" not in pages:
            pages["/docs"] = docs_page(app.openapi())
        return _html(pages["/docs"])


def _html(page: Page) -> HTMLResponse:
    return HTMLResponse(page.html, headers={"content-security-policy": page.policy, "x-frame-options": "DENY"})


async def _refused(request: Request, error: Exception) -> JSONResponse:
    status, reason, headers = 503, "this request could not be answered", {"Retry-After": "1"}
    match error:
        case RequestError():
            status, reason, headers = error.status, error.reason, error.headers
        case HTTPException():
            more: Mapping[str, str] = error.headers or {}
            status, reason, headers = error.status_code, f"{error.detail}: see /docs", dict(more)
    return JSONResponse({"error": reason}, status, headers)
