"""Pops what is due, claims it, delivers it, records what came of it."""
