"""Speaks to the targets: HTTP through libcurl, AWS through boto3."""
