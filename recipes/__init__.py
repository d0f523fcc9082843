"""The recipes that come with unpairaug, as package data: a bare name in a command is one of them."""
