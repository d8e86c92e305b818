"""`comptoir check-connector`: what a program can see of a connector's package without running it.

Layout, manifest, imports, direct use of what is a port, and the promises in quality.yaml. Everything is read, nothing
is imported, so that a stranger's package can be looked at before it is installed. What it does is for the conformance
suite (`comptoir.testing.connector_suite`).
"""

from comptoir.app.connector_check.check import Report, check_connector
from comptoir.app.connector_check.findings import Fault

__all__ = ["Fault", "Report", "check_connector"]
