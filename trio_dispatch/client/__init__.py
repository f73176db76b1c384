"""Typed calls to a dispatch service."""
