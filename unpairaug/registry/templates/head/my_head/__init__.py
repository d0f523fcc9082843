"""The head `my_head` for unpairaug."""
