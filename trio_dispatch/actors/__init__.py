"""Actors: async functions that run while a dispatch does."""
