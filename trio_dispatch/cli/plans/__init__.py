"""Plans: files that say which dispatches are to exist, and what it takes to have them."""
