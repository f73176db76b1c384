"""Recurrence rules: seeking their occurrences, RFC 5545 text, descriptions in words."""
