"""What is in a data set, what is wrong with it, and what it means for a model. Each file looks at one kind of thing."""
