"""Run reports: what the dispatcher and its actors did, kept until the service has stored it."""
