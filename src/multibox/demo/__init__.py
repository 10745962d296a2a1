"""A detector to try: a page on this machine for images, videos and a webcam, and a page to publish."""
