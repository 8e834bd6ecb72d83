"""Alerts: what goes wrong and lasts, opened once and resolved once."""
