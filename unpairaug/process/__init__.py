"""Settings of a process of the program: what its memory allocator keeps."""
