"""Brings the database up to date on deploy."""
