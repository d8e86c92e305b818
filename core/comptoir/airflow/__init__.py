"""Comptoir on Apache Airflow: the only package that imports it."""
