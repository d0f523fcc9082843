"""Trained parts as folders and on the Hugging Face hub: save, load, model card."""
