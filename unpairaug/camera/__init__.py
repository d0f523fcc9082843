"""What can be measured of a camera without training: optics, noise, JPEG quality."""
