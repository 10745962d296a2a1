"""A model file that answers `detector(image)`, and what such a file says of itself."""
