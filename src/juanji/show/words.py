"""The labels in pictures, in English and Chinese, and the fonts that hold them."""

import os
from functools import cache
from typing import TYPE_CHECKING

from juanji import messages
from juanji.errors import ArgumentError

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

TABLE = {  # key: (English, Chinese)
    "input": ("input", "输入"),
    "padded": ("padded input", "填充后的输入"),
    "kernel": ("kernel", "卷积核"),
    "output": ("output", "输出"),
    "error": ("error", "误差"),
    "gradient": ("gradient of the input", "输入的梯度"),
    "turned": ("turned by 180°", "翻转 180°"),
    "seen": ("input in the window", "窗口中的输入"),
    "spread": ("zeros between and around", "中间与四周补零"),
    "around": ("zeros around", "四周补零"),
    "padding": ("padding", "填充"),
    "stride": ("stride", "步幅"),
    "dilation": ("dilation", "膨胀"),
    "groups": ("groups", "分组"),
    "weights": ("weights", "权重"),
    "more": ("{count} more channels", "另有 {count} 个通道"),
    "max": ("maximum", "最大池化"),
    "avg": ("average", "平均池化"),
    "lp": ("norm", "范数池化"),
    "weighted": ("weighted average", "加权平均池化"),
    "filters": ("{shown} filters, {dead} without activation left out", "{shown} 个滤波器，略去 {dead} 个无激活的"),
    "projected": ("what each unit saw, and its activation sent back", "各单元所见，及其激活送回像素的结果"),
    "saliency": ("saliency", "显著图"),
    "guided": ("guided back-propagation", "导向反向传播"),
    "grad_cam": ("Grad-CAM", "类激活图"),
    "occlusion": ("occlusion", "遮挡"),
    "sees": ("sees {size}", "感受野 {size}"),
    "depends": ("how strongly it depends on each pixel", "对每个像素的依赖强度"),
    "varies": ("varying", "不定"),
    "cycles": ("cycles per pixel", "周期/像素"),
    "selectivity": ("orientation selectivity", "方向选择性"),
}

CHINESE = (  # files that hold Chinese letters, by the names under which systems install them
    "NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "NotoSansSC-Regular.otf", "NotoSansSC-Regular.ttf",
    "SourceHanSansSC-Regular.otf", "SourceHanSansCN-Regular.otf",
    "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "DroidSansFallback.ttf", "msyh.ttc",
    "msyh.ttf", "simhei.ttf", "simsun.ttc", "PingFang.ttc", "Hiragino Sans GB.ttc", "STHeiti Light.ttc", "Arial Unicode.ttf",
)  # fmt: skip
LATIN = ("DejaVuSans.ttf", "Arial.ttf", "arial.ttf", "Helvetica.ttc", "LiberationSans-Regular.ttf", "NotoSans-Regular.ttf")


WIDTHS = {
    "−": 0.84,
    "+": 0.84,
    "=": 0.84,
    "×": 0.84,
    " ": 0.32,
    ".": 0.32,
    ",": 0.32,
    "·": 0.32,
    "(": 0.39,
    ")": 0.39,
    "i": 0.28,
    "l": 0.28,
}


class Words:
    """The labels of one language, and a font for them."""

    def __init__(self, language: str, font: str | None) -> None:
        self.language, self.font = language, font

    def __call__(self, key: str, **values: object) -> str:
        return TABLE[key][messages.LANGUAGES.index(self.language)].format(**values)


def words(language: str | None = None) -> Words:
    """The labels of a language, by the locale unless given. English where no font for Chinese is found."""
    if language is None:
        language = messages.choose([], os.environ)
    if language not in messages.LANGUAGES:
        raise ArgumentError(f"language (={language!r}) must be one of {', '.join(messages.LANGUAGES)}")
    found = _first(CHINESE) if language == "zh" else None
    return Words("zh", found) if found else Words("en", _first(LATIN))


def ems(text: str) -> float:
    """About how wide a line of text is, in the size of its letters.

    >>> ems("−2") > ems("12") > ems("1.2") / 2
    True
    """
    return sum(1.0 if ord(letter) > 0x2E80 else WIDTHS.get(letter, 0.64) for letter in text)


@cache
def letters(path: str | None, size: int) -> "FreeTypeFont":
    """The font of a file at a size in pixels; Pillow's own without one."""
    from PIL import ImageFont

    return ImageFont.truetype(path, size) if path else ImageFont.load_default(size)  # type: ignore[return-value]


@cache
def _first(names: tuple[str, ...]) -> str | None:
    """The path of the first font that this system has, matplotlib's own among them."""
    from PIL import ImageFont

    for name in names:
        try:
            return str(ImageFont.truetype(name, 12).path)
        except OSError:
            continue
    return None
