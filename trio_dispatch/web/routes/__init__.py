"""The handlers of requests: each takes the site, mostly a session, and the request."""
