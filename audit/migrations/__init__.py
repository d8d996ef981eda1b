"""Migrations of the store, run by `audit.migrate`."""
