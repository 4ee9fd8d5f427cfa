"""From the name of a device to its products."""

import torch

from ktd.engine.gpu.products import Products
from ktd.engine.gpu.torch_products import TorchProducts
from ktd.engine.seat import CPU, TORCH_CPU


def products_on(name: str) -> Products:
    if name in (CPU, TORCH_CPU):
        return TorchProducts(torch.device("cpu"))
    raise AssertionError(f"no products on {name}")
