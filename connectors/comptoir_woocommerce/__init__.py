"""Comptoir's connector for WooCommerce shops (REST API v3, WooCommerce 7 to 11)."""
