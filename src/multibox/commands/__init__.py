"""The commands, one in each file: options to one call, and words to the user. `multibox.cli` makes them a program."""
