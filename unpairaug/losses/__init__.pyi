from .adversarial import GAMES as GAMES, Game as Game, GameName as GameName
from .criterion import Criterion as Criterion
from .functional import (
    Losses as Losses,
    cycle_loss as cycle_loss,
    gan_loss as gan_loss,
    identity_loss as identity_loss,
    zero_mean_loss as zero_mean_loss,
)
