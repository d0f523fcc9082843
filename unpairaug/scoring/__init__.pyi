from .scores import score as score
