"""Where the files that are shipped with Comptoir, but are not Python, stand on this machine."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def mappings_dir() -> Path:
    """The folder of the mappings that come with Comptoir, one sub-folder per platform.

    In a wheel they are inside the package. An editable install copies no data files, so there they are the
    repository's own `mappings/`. A merchant's overrides stand elsewhere and are looked up before these.

    Raises:
        FileNotFoundError: the installation is incomplete, neither place exists.
    """
    packaged = _PACKAGE / "_mappings"
    repository = _PACKAGE.parents[1]
    checkout = repository / "mappings"
    if packaged.is_dir():
        return packaged
    # The name of the folder alone would also match a stranger's `mappings/` two levels above site-packages.
    if checkout.is_dir() and _PACKAGE.parent.name == "core" and (repository / "pyproject.toml").is_file():
        return checkout
    raise FileNotFoundError(
        f"The mappings that belong to Comptoir are missing: neither {packaged} nor {checkout} exists. "
        "Reinstall the comptoir package, or run it from a complete checkout."
    )
