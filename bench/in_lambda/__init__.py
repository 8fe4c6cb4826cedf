"""Runs in Lambda's image, where there is the standard library and nothing else of ours."""
