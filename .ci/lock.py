"""Pins every package of an installation, read from what pip would install.

In: on standard input, the report of `pip install --dry-run --ignore-installed --report -`. Out: `name==version` lines.
Local version tags are cut (`2.13.0+cpu` exists at one index only), and the ordinary build's GPU packages are left to
torch itself, so that the same lock serves processors with and without a GPU. It does not know how pip resolves.
"""

from __future__ import annotations

import json
import re
import sys

OWN = "llmagentos"
LEFT_TO_TORCH = re.compile(r"^(nvidia-|cuda-|pytorch-triton|triton$)")
HEADER = "# Written by `make lock` from pyproject.toml; do not edit. Installed by plain `pip install -r`.\n"


def pins(report: dict[str, object]) -> list[str]:
    """Sorted `name==version` lines of a pip installation report."""
    lines = []
    for item in report["install"]:  # type: ignore[attr-defined]
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        if name == OWN or LEFT_TO_TORCH.match(name):
            continue
        lines.append(f"{name}=={item['metadata']['version'].split('+')[0]}")
    return sorted(lines)


if __name__ == "__main__":
    sys.stdout.write(HEADER + "\n".join(pins(json.load(sys.stdin))) + "\n")
