"""The dispatcher: keeps a mirror of the service's dispatches, and announces what is due."""
