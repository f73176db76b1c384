"""Values as people write and read them: each is parsed and formatted in one place."""
