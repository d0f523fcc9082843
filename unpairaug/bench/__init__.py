"""Speed and memory on this machine: the joint step, the data, the augmentation; and the dry run of `check`."""
