"""A run is a folder: made from data, found again by the commands, and the things that are done with it."""
