"""The YAML file of a run as typed, checked sections."""
