"""Built-in restoration networks, found by the name a recipe gives under `task.head.type`."""
