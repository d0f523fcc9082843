from .measurement import Measurement as Measurement
