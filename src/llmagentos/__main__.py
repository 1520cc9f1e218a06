"""`python -m llmagentos`: the same commands as `llmagentos`, for where that is not on the path."""

from __future__ import annotations

from llmagentos.cli.main import main

if __name__ == "__main__":
    main()
