"""The REST API: jobs, templates, statistics, health."""
