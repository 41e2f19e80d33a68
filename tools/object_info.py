"""Brings ``tests/object_info`` up to date: ``python tools/object_info.py http://127.0.0.1:8188`` for each version.

Asks a running ComfyUI with this pack for the descriptions of the nodes in our workflows. Lists of files are kept from
the stored version, because those of the machine are not everybody's.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "object_info"
FILES = ("model_name", "folder", "image", "file", "ckpt_name", "study")


def ask(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return json.load(answer)


def with_files_of(old: Any, new: Any) -> Any:
    """The description of a node with the lists of files of an older one."""
    for kind, inputs in new["input"].items():
        for name in set(FILES) & set(inputs):
            before, now = old.get("input", {}).get(kind, {}).get(name), inputs[name]
            if before and isinstance(before[0], list):
                now[0] = before[0]
            elif before and now[0] == "COMBO":
                now[1]["options"] = before[1]["options"]
    return new


def main() -> None:
    server = sys.argv[1].rstrip("/")
    version = ask(f"{server}/system_stats")["system"]["comfyui_version"]
    path = FOLDER / f"{version}.json"
    known, found = json.loads(path.read_text("utf-8")), ask(f"{server}/object_info")
    ours = {name for name in found if name.startswith("Backplate")}
    described = {
        name: with_files_of(known.get(name, {}), found[name]) for name in sorted((set(known) | ours) & set(found))
    }
    path.write_text(json.dumps(described, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
