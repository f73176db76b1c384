"""The wire contract: the generated messages, and their conversion to and from the model."""
