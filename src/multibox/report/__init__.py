"""The page that explains a detector: what a work directory holds, plots, galleries, and the page of them."""
