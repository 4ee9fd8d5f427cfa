"""From the name of a device to its products."""

import torch

from ktd.engine.gpu.products import Products
from ktd.engine.gpu.torch_products import TorchProducts
from ktd.engine.seat import CPU, TORCH_CPU


def products_on(name: str) -> Products:
    if name in (CPU, TORCH_CPU):
        return TorchProducts(torch.device("cpu"))
    from ktd.engine.gpu.cuda_kernels import Kernels
    from ktd.engine.gpu.cuda_products import CudaProducts  # CUDA's own packages, which a CPU does not need
    from ktd.engine.gpu.launcher import CudaLauncher

    device = torch.device(name)
    return CudaProducts(Kernels(CudaLauncher(device)), device)
