"""Fills the ready set and asks for executors when it is behind."""
