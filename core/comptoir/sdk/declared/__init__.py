"""Connectors without code: a REST system or a folder of files, described by a manifest and mappings alone.

See docs/no-code.md for the description's tables.
"""

from comptoir.sdk.declared.description import Description, read_description
from comptoir.sdk.declared.loading import connector_of, declared_connector, description_of

__all__ = ["Description", "connector_of", "declared_connector", "description_of", "read_description"]
