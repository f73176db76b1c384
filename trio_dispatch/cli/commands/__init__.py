"""The commands, each one async function, in a module for each group of them."""
