"""Procedural pictures: outdoor scenes of several kinds, and aligned faces."""

from cdlib.data.synthetic.faces import draw_face
from cdlib.data.synthetic.scenes import SCENES, draw_scene

__all__ = ["SCENES", "draw_face", "draw_scene"]
