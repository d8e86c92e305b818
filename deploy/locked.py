"""Print the part of `requirements/dev.lock` that one purpose needs, hashes included; for the Dockerfile.

    python deploy/locked.py runtime > runtime.lock     what the hub and Airflow need to run
    python deploy/locked.py build > build.lock         what building the wheel needs

There is one lock, so that what is shipped is what was tested; the developers' tools in it stay out of the image.
Who needs whom is read from the lock's own `# via` comments: no network, no resolver. Standard library only,
because it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "dev.lock"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def roots(project: Mapping[str, object], purpose: str) -> list[str]:
    """The requirements of pyproject.toml that a purpose begins with."""
    if purpose == "build":
        system = project["build-system"]
        assert isinstance(system, dict)  # noqa: S101 - the shape of every pyproject.toml
        return list(system["requires"])
    table = project["project"]
    assert isinstance(table, dict)  # noqa: S101
    return [*table["dependencies"], *table["optional-dependencies"]["airflow"]]


def name_of(requirement: str) -> str:
    """The normalised name of a requirement such as `psycopg[binary]>=3.2`; ValueError when it has none."""
    found = _NAME.match(requirement.strip())
    if found is None:
        raise ValueError(f"no requirement: {requirement!r}")
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def blocks(lock: str) -> list[str]:
    """The lock's packages: a line with the pin, then hashes and comments, each as one text."""
    body = [block for block in re.split(r"\n(?=\S)", lock) if block and not block.startswith("#")]
    return [block.rstrip() for block in body]


def parents(block: str) -> set[str]:
    """Who asked for a package, by the lock's word."""
    said = re.split(r"\n\s+# via\b", block, maxsplit=1)
    if len(said) == 1:
        return set()
    names = (line.strip().removeprefix("#").strip() for line in said[1].splitlines())
    return {name_of(name) for name in names if name}


def subset(lock: str, wanted: Iterable[str]) -> list[str]:
    """The blocks of these requirements and of all that they need; ValueError when the lock lacks one of them."""
    known = blocks(lock)
    needed = {name_of(requirement) for requirement in wanted}
    if missing := needed - {name_of(block) for block in known}:
        raise ValueError(f"not in the lock: {', '.join(sorted(missing))}; run `make lock`")
    while True:
        more = {name_of(block) for block in known if parents(block) & needed} - needed
        if not more:
            return [block for block in known if name_of(block) in needed]
        needed |= more


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Print a part of the lock.")
    parser.add_argument("purpose", choices=["runtime", "build"])
    given = parser.parse_args(arguments)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = subset(LOCK.read_text(encoding="utf-8"), roots(project, given.purpose))
    sys.stdout.write("\n".join(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
