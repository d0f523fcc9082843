"""The translator `my_translator` for unpairaug."""
