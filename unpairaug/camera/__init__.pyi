from .measured_camera import CameraReport as CameraReport, Measure as Measure, MeasuredCamera as MeasuredCamera
from .noise import MeasuredNoise as MeasuredNoise
