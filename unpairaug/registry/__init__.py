"""Names in a recipe to classes in code: built in, registered, plug-ins, `module:Class`."""
