from .blur import RandomBlur as RandomBlur
from .filters import haar as haar, low_pass as low_pass, radius_of as radius_of
from .generators import (
    NoisyGenerator as NoisyGenerator,
    PlainGenerator as PlainGenerator,
    ResidualGenerator as ResidualGenerator,
    ResnetGenerator as ResnetGenerator,
    make_norm as make_norm,
)
from .init import init_gan_weights as init_gan_weights
from .noise import Grain as Grain, SensorNoise as SensorNoise, SignalDependentNoise as SignalDependentNoise
from .resize import (
    enlarge as enlarge,
    pad_to_multiple as pad_to_multiple,
    shrink as shrink,
    shuffle_up as shuffle_up,
)
