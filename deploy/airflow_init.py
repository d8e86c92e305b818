#!/usr/bin/env python
"""Prepare Airflow, once before its programs start and again after every change of comptoir.toml:

1. the file with the administrator's password (AIRFLOW_ADMIN_PASSWORD), which the login page reads;
2. Airflow's tables, made or migrated;
3. a pool for every connection: a route whose pool is missing would wait for ever. Pools that exist keep their slots.

Everything is said by Airflow's own command line, whose exit code is passed on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from comptoir.app.config import load
from comptoir.errors import ComptoirError

USER = "admin"
#: Shorter ones are found by trying.
SHORTEST = 12


class Refused(Exception):
    """Something that has to be set right first."""


def airflow(*arguments: str) -> None:
    """Run one command of Airflow; CalledProcessError when it fails."""
    subprocess.run([sys.executable, "-m", "airflow", *arguments], check=True, stdin=subprocess.DEVNULL)


def write_password(path: Path, password: str) -> None:
    """The login page's file with this password, readable by its owner alone."""
    if len(password) < SHORTEST:
        raise Refused(f"AIRFLOW_ADMIN_PASSWORD is missing or shorter than {SHORTEST} characters.")
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        json.dump({USER: password}, stream)
    fresh.replace(path)


def missing_pools(config: Path, known: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """The pools that the routes of a configuration need and Airflow does not have, as `airflow pools import` reads
    them. ConfigError when the configuration is wrong."""
    from comptoir.airflow.dag_factory import pools

    text = "Comptoir: tasks that use this connection at the same time"
    return {
        name: {"slots": slots, "description": text, "include_deferred": False}
        for name, slots in pools(load(config)).items()
        if name not in known
    }


def make_pools(config: Path) -> int:
    """Creates what is missing; how many pools that were."""
    with tempfile.TemporaryDirectory() as folder:
        known, new = Path(folder) / "known.json", Path(folder) / "new.json"
        airflow("pools", "export", str(known))
        missing = missing_pools(config, json.loads(known.read_text(encoding="utf-8")))
        if missing:
            new.write_text(json.dumps(missing), encoding="utf-8")
            airflow("pools", "import", str(new))
    return len(missing)


def main(environ: Mapping[str, str]) -> int:
    """All three; returns the exit code."""
    try:
        # A wrong configuration is said before anything is changed.
        config = Path(environ["COMPTOIR_CONFIG"])
        load(config)
        password_file = Path(environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
        write_password(password_file, environ.get("AIRFLOW_ADMIN_PASSWORD", ""))
        airflow("db", "migrate")
        made = make_pools(config)
    except ComptoirError as error:
        sys.stderr.write(f"{error}\n" + (f"{error.hint}\n" if error.hint else ""))
        return error.exit_code
    except Refused as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyError as error:
        sys.stderr.write(f"{error.args[0]} is not set.\n")
        return 2
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"`airflow {' '.join(error.cmd[3:])}` failed, see above.\n")
        return int(error.returncode)
    sys.stdout.write(f"Airflow is prepared; {made} pools were made.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
