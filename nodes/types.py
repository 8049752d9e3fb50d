"""The pack's own socket types; all values are immutable objects of zoom_core."""

from comfy_api.v0_0_2 import io

ZoomLevelsType = io.Custom("ZOOM_LEVELS")
ZoomStackType = io.Custom("ZOOM_STACK")
ZoomGuideType = io.Custom("ZOOM_GUIDE")
ZoomCameraType = io.Custom("ZOOM_CAMERA")

CATEGORY = "Zoom Stack"
