"""ZoomPhotoGuide: a photograph that a level has to show."""

from comfy_api.v0_0_2 import io

from ..zoom_core.photograph import METHODS, ZoomGuide
from .agreement import check_percents
from .inputs import percent_input
from .types import CATEGORY, ZoomGuideType


class ZoomPhotoGuide(io.ComfyNode):
    """Ties a level of the zoom to a picture of the person's own."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomPhotoGuide",
            display_name="Zoom Photo Guide",
            category=CATEGORY,
            description="A photograph that one level of the zoom has to show; the other levels continue it.",
            search_aliases=["zoom into photo", "photo zoom", "zoom out of image"],
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip=(
                        "The photograph, of any size: it is cropped around its middle to the shape of the levels."
                        " Transparency is laid over white."
                    ),
                ),
                io.Int.Input(
                    "level",
                    default=0,
                    min=-64,
                    max=63,
                    tooltip=(
                        "The level that shows it: 0 to zoom into the photograph, -1 (the innermost) to zoom out of it."
                    ),
                ),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    default="projection",
                    tooltip="projection keeps to the photograph exactly. adam is the paper's softer way.",
                ),
                io.Int.Input(
                    "steps", default=5, min=1, max=100, tooltip="Adam only: steps at every evaluation of the model."
                ),
                io.Float.Input(
                    "learning_rate",
                    default=0.1,
                    min=0.001,
                    max=1.0,
                    step=0.01,
                    round=False,
                    tooltip="Adam only: how far one step goes.",
                ),
                percent_input("start_percent", 0.0, "From which part of the sampling on the photograph holds."),
                percent_input("end_percent", 1.0, "Up to which part of the sampling the photograph holds."),
            ],
            outputs=[ZoomGuideType.Output("guide", tooltip="Connect it to the sampler.")],
        )

    @classmethod
    def execute(cls, image, **settings) -> io.NodeOutput:
        if image.ndim != 4 or 0 in image.shape:
            raise ValueError(f"image must be a photograph [1, height, width, channels], got {tuple(image.shape)}.")
        if image.shape[0] != 1:
            raise ValueError(f"image has a batch of {image.shape[0]} pictures: give one photograph.")
        check_percents(settings["start_percent"], settings["end_percent"])
        picture = image[0].movedim(-1, 0).float()
        if picture.shape[0] == 4:
            picture = picture[:3] * picture[3:] + (1 - picture[3:])
        if not picture.isfinite().all():
            raise ValueError("image holds pixels that are not finite numbers (NaN or infinity).")
        return io.NodeOutput(ZoomGuide(picture[:3], **settings))


NODES = [ZoomPhotoGuide]
