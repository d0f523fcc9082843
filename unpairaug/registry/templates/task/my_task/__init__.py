"""The task `my_task` for unpairaug."""
