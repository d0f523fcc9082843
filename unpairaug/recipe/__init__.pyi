from .optimizer_sections import OptimizerSection as OptimizerSection
from .recipe import (
    Recipe as Recipe,
    bundled_recipes as bundled_recipes,
    differences as differences,
    differences_of_values as differences_of_values,
    load_recipe as load_recipe,
    plugin_recipes as plugin_recipes,
    to_yaml as to_yaml,
)
from .sections import (
    BridgeSection as BridgeSection,
    DataSection as DataSection,
    RealPathSection as RealPathSection,
    ScheduleSection as ScheduleSection,
    TrainSection as TrainSection,
)
