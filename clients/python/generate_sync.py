"""Makes `_sync` out of `_async`: python generate_sync.py [FOLDER], where FOLDER holds `_async`; needs unasync."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import unasync

NAMES = {
    "AsyncAdminClient": "AdminClient",
    "AsyncCaller": "Caller",
    "AsyncChannel": "Channel",
    "AsyncClient": "Client",
    "AsyncEventCall": "EventCall",
    "AsyncIterator": "Iterator",
    "AsyncMethod": "Method",
    "AsyncStream": "Stream",
    "_async": "_sync",
    "aclose": "close",
    "aclosing": "closing",
    "aiter": "iter",
    "anext": "next",
    "open_async_channel": "open_channel",
}
HEADER = "# Generated from _async by generate_sync.py. DO NOT EDIT!\n"


def generate(folder: Path) -> None:
    """Write the whole of `folder`/_sync anew."""
    sources = [str(path) for path in sorted((folder / "_async").glob("*.py"))]
    shutil.rmtree(folder / "_sync", ignore_errors=True)
    unasync.unasync_files(sources, [unasync.Rule("/_async/", "/_sync/", NAMES)])
    for path in (folder / "_sync").glob("*.py"):
        path.write_text(HEADER + path.read_text())


if __name__ == "__main__":
    default = Path(__file__).parent / "trunkline_client"
    generate(Path(sys.argv[1] if sys.argv[1:] else default).resolve())
