"""Staging and production: a staging installation writes only to connections that say they are for it.

`stage.toml` beside comptoir.toml says what an installation is for; `comptoir promote` never carries it. Without it an
installation is production. In staging a remote may be read, and written to only when its own Airflow connection says
`"stage": "staging"` in its extra: credentials never travel, so what points to production does not say that.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, cast

from comptoir.engine.hub import NOT_OURS
from comptoir.engine.ports import Secrets
from comptoir.errors import ConfigError
from comptoir.store.database import Database
from comptoir.store.installation import Installations

__all__ = ["FILE", "Stage", "check_database", "check_writing", "stage_of"]

Stage = Literal["staging", "production"]
FILE = "stage.toml"


def stage_of(base: Path) -> Stage:
    """What the installation in a folder is for; ConfigError when stage.toml cannot be understood."""
    path = base / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return "production"
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{FILE}: cannot be read: {error}", code="stage") from None
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{FILE}: {error}", code="stage") from None
    stage = found.get("stage")
    if set(found) != {"stage"} or stage not in ("staging", "production"):
        raise ConfigError(f'{FILE}: expected one line, stage = "staging" or stage = "production"', code="stage")
    return cast("Stage", stage)


def check_writing(stage: Stage, connection: str, secrets: Secrets) -> None:
    """ConfigError when a staging installation must not write to this connection."""
    if stage == "production":
        return
    credentials = secrets.get(connection)
    if credentials is None or credentials.extra.get("stage") != "staging":
        raise ConfigError(
            f"{connection}: this is a staging installation, and the connection does not say that it is for staging; "
            "nothing was written to it",
            hint='If it leads to a test system or test folder, add "stage": "staging" to the extra of its Airflow '
            f"connection (AIRFLOW_CONN_{connection.upper()}).",
            connection=connection,
            code=NOT_OURS,
        )


def check_database(database: Database, stage: Stage) -> None:
    """ConfigError when the database belongs to an installation of the other stage; a new one belongs to this one."""
    with database.errors():
        kept = Installations(database.session()).claim(stage)
    if kept != stage:
        raise ConfigError(
            f"the database belongs to a {kept} installation, and {FILE} says that this one is {stage}",
            hint="Each keeps a database of its own: use another folder, or let COMPTOIR_DATABASE_URL name another one.",
            code="staging",
        )
