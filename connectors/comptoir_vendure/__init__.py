"""Vendure, an e-shop with a GraphQL Admin API."""
