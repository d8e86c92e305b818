"""The canonical model: what every platform's data is mapped into. Imports nothing else of Comptoir."""
