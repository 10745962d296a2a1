"""INT8: methods tried in order until one loses little enough."""
