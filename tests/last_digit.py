"""A plugin for pytest: torch as another machine may compute it, off in the last digit of what its kernels add up.

A library promises no bits: for other shapes, strides or gradients it may take another kernel. Here it always does, by
a digit that hangs on shapes and strides alone; so the same call twice still gives the same bits, and whole numbers stay.
"""

import hashlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

ADD_UP = {
    getattr(torch.ops.aten, name).default
    for name in ("mm", "addmm", "bmm", "baddbmm", "mv", "dot", "convolution", "linalg_vector_norm", "logsumexp", "_softmax", "_log_softmax")
}  # fmt: skip


class OffByADigit(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        found = function(*arguments, **(keywords or {}))
        if function not in ADD_UP or found.dtype not in (torch.float32, torch.float64):
            return found
        seen = str([function, *((x.shape, x.stride()) for x in arguments if isinstance(x, torch.Tensor))])
        off = hashlib.sha256(seen.encode()).digest()[0] % 3 - 1
        return torch.where(found == found.round(), found, found * (1 + off * torch.finfo(found.dtype).eps))


@pytest.fixture(autouse=True)
def off_by_a_digit():
    with OffByADigit():
        yield
