"""Tries a trained model on single photographs, in a browser on the same machine."""
