from .blur import RandomBlur as RandomBlur
from .generators import (
    NoisyGenerator as NoisyGenerator,
    PlainGenerator as PlainGenerator,
    ResidualGenerator as ResidualGenerator,
    ResnetGenerator as ResnetGenerator,
    SignalDependentNoise as SignalDependentNoise,
    enlarge as enlarge,
    haar as haar,
    init_gan_weights as init_gan_weights,
    low_pass as low_pass,
    make_norm as make_norm,
    pad_to_multiple as pad_to_multiple,
    radius_of as radius_of,
    shrink as shrink,
    shuffle_up as shuffle_up,
)
from .noise import Grain as Grain, SensorNoise as SensorNoise
