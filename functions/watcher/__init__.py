"""Rescues what a lost executor held, alerts, keeps retention, measures."""
