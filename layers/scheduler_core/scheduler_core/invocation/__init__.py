"""Wakes other functions."""
