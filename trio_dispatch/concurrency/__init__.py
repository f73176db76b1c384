"""Building blocks on Trio: broadcast channels, a service nursery, backoff."""
