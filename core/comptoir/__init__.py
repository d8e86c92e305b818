"""Comptoir: an open-source integration hub for merchants who sell on several channels."""

__version__: str


def __getattr__(name: str) -> str:
    # Reading the version means reading the distribution's metadata from disk. Airflow starts a process per
    # task and imports this package in each of them, so the work is left until somebody asks.
    if name == "__version__":
        from importlib.metadata import version

        return version("comptoir")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
