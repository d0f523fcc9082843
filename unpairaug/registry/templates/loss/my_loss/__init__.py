"""The loss `my_loss` for unpairaug."""
