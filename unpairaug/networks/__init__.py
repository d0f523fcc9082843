"""Generators and their parts: residual blocks, blur kernels, noise, filters, backbones."""
