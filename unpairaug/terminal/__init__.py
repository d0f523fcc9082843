"""Output on the terminal while a program runs."""
