"""Make or check `requirements/dev.lock`: every package that is installed, pinned and with its hashes.

`python tools/lock.py` writes it anew, keeping the versions it already has where they still fit;
`python tools/lock.py --upgrade` takes today's newest; `python tools/lock.py --check` fails when it does not
belong to pyproject.toml. The check works without a network: the lock's head carries a digest of the
requirements it was made from. Where the registry answers, the resolution is repeated and compared as well.

It is a plain requirements file, and no `uv.lock`, because pip alone must be able to install it and because it
must not hold the address of a registry (docs/adr/0005).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "dev.lock"
EXTRAS = ("airflow", "dev")
COMMAND = "make lock"
_DIGEST = "# requirements of pyproject.toml: sha256:"
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<rest>[^\\]+?)\s*\\?$")
# An address, a local path or an index option: any of them would tie the lock to one machine or one registry.
_PLACE = re.compile(r"://|\bfile:|^\s*-|(?<![\w.])/(?:[\w.-]+/)+|[A-Za-z]:\\")


def digest() -> str:
    """Identifies the requirements in pyproject.toml, and nothing else in it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {
        "requires-python": project["requires-python"],
        "dependencies": sorted(project["dependencies"]),
        "extras": {name: sorted(project["optional-dependencies"][name]) for name in EXTRAS},
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def pins(text: str) -> set[str]:
    """`name==version ; marker` of every package. Without the hashes: a release may gain files later."""
    return {f"{m['name']}=={m['rest']}" for line in text.splitlines() if (m := _PIN.match(line))}


def faults(text: str) -> list[str]:
    """What is wrong with the lock and can be seen without a network."""
    found = []
    if f"{_DIGEST}{digest()}" not in text.splitlines():
        found.append("the requirements in pyproject.toml have changed since it was made")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("    --hash=") and _PLACE.search(line):
            found.append(f"line {number} names an address, a path or an option: {line.strip()}")
    for block in re.split(r"\n(?=\S)", text):
        pin = _PIN.match(block.splitlines()[0]) if block else None
        if pin and "--hash=sha256:" not in block:
            found.append(f"{pin['name']} has no hash")
    return found


def compile_lock(target: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Let uv resolve into `target`, starting from the versions that `target` already holds."""
    uv = Path(sys.executable).with_name("uv")
    command = [
        str(uv) if uv.exists() else "uv",
        *("pip", "compile", "pyproject.toml", "--quiet", "--universal", "--python-version", "3.11"),
        *(part for extra in EXTRAS for part in ("--extra", extra)),
        *("--generate-hashes", "--no-emit-index-url", "--system-certs", "--custom-compile-command", COMMAND),
        *options,
        *("--output-file", str(target)),
    ]
    environment = {"UV_HTTP_TIMEOUT": "20", "UV_HTTP_RETRIES": "1", **os.environ}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def _with_digest(text: str) -> str:
    head: list[str] = []
    body: list[str] = []
    for line in text.splitlines():
        (head if line.startswith("#") and not body else body).append(line)
    return "\n".join([*head, f"{_DIGEST}{digest()}", *body]) + "\n"


def write(*, upgrade: bool) -> int:
    """Resolve and replace the lock."""
    LOCK.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / LOCK.name
        if LOCK.exists():
            shutil.copy(LOCK, target)
        done = compile_lock(target, *(["--upgrade"] if upgrade else []))
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            return 1
        text = _with_digest(target.read_text(encoding="utf-8"))
    if found := faults(text):
        print("Not written:", *found, sep="\n  ", file=sys.stderr)
        return 1
    LOCK.write_text(text, encoding="utf-8")
    print(f"{LOCK.relative_to(ROOT)}: {len(pins(text))} packages")
    return 0


def check() -> int:
    """0 when the lock belongs to pyproject.toml."""
    text = LOCK.read_text(encoding="utf-8")
    if found := faults(text):
        print(f"{LOCK.relative_to(ROOT)} is not right; run `{COMMAND}`:", *found, sep="\n  ")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / LOCK.name
        shutil.copy(LOCK, target)
        done = compile_lock(target)
        if done.returncode:
            if "No solution found" in done.stderr:
                print(done.stderr)
                return 1
            reason = done.stderr.strip().splitlines()
            print("SKIPPED: the resolution could not be repeated, no registry answers. What uv said:")
            print(*(f"  {line}" for line in reason[:6]), sep="\n")
            print("The digest of the requirements is right, so the lock was made from this pyproject.toml.")
            return 0
        now = pins(target.read_text(encoding="utf-8"))
    if now != pins(text):
        print(f"A new resolution differs; run `{COMMAND}`:")
        print(
            *sorted(f"  - {pin}" for pin in pins(text) - now),
            *sorted(f"  + {pin}" for pin in now - pins(text)),
            sep="\n",
        )
        return 1
    print(f"{len(now)} packages, resolved again and equal")
    return 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, fail when the lock is out of date")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    options = parser.parse_args()
    return check() if options.check else write(upgrade=options.upgrade)


if __name__ == "__main__":
    sys.exit(main())
