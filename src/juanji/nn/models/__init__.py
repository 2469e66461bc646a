"""Networks by name: `nn.models.get("lenet-5")`; `nn.models.NAMES` lists them."""

from juanji.nn.models.named import NAMES, get

__all__ = ["NAMES", "get"]
