"""One whole network a file, each named by what its paper calls it."""
