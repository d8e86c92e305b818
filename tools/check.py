"""Run every static check, to the end, and say at last which failed. Run by `make check`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

STEPS: dict[str, list[str]] = {
    "ruff: lint": [f"{BIN}/ruff", "check", "."],
    "ruff: format": [f"{BIN}/ruff", "format", "--check", "."],
    "mypy: strict types": [f"{BIN}/mypy", "core", "connectors", "agent", "tools"],
    "import-linter: architecture": [f"{BIN}/lint-imports", "--no-logo"],
    "ports: no direct clock, ids, randomness, tasks, HTTP": [sys.executable, "tools/lint_ports.py"],
    "lock: belongs to pyproject.toml": [sys.executable, "tools/lock.py", "--check"],
}


def main() -> int:
    """0 when every step passed."""
    failed = []
    for name, command in STEPS.items():
        print(f"== {name}", flush=True)
        started = time.monotonic()
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(name)
        print(f"   {'FAILED' if name in failed else 'ok'} ({time.monotonic() - started:.1f} s)\n", flush=True)
    if failed:
        print("Failed:", *failed, sep="\n  ")
        return 1
    print(f"All {len(STEPS)} checks passed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
