"""The GPU's kernels for every test of a session, compiled once, the types of a family together."""

import pytest
import torch
from host_kernels import HostLauncher, every_kernel

from ktd.engine.gpu.cuda_kernels import Kernels


@pytest.fixture(scope="session")
def host() -> HostLauncher:
    launcher = HostLauncher()
    launcher.prepare_all(every_kernel())
    return launcher


@pytest.fixture(scope="session")
def kernels(host: HostLauncher) -> Kernels:
    return Kernels(host)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(1)
