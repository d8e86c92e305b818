"""Mappings are data: YAML checked against the canonical model and compiled to Python source."""

from comptoir.mapping.mapping import Mapping, find_files, load_mapping

__all__ = ["Mapping", "find_files", "load_mapping"]
