"""A device "cuda:0" without a GPU: its tensors lie in main memory, but refuse to meet those of the processor."""

from __future__ import annotations

import weakref

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map_only

GPU = torch.device("cuda", 0)
CPU = torch.device("cpu")
_COPIES = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)


class There(torch.Tensor):
    """A tensor on the second device: computes as one on the processor, and raises where both meet."""

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> There:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device="meta",  # for torch's own checks, which would ask the driver of a GPU
        )

    def __init__(self, here: torch.Tensor):
        self.here = here
        _Account.current.held(here)

    @property
    def device(self) -> torch.device:
        return GPU

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
        if func not in _COPIES and any(not isinstance(x, There) and x.ndim for x in tensors):
            raise RuntimeError(f"{func}: expected all tensors on one device, found {[str(x.device) for x in tensors]}")
        owners = {id(x.here): x for x in tensors if isinstance(x, There)}
        device = kwargs.get("device")
        if device is not None:
            kwargs = {**kwargs, "device": CPU}
        args, kwargs = tree_map_only(There, lambda x: x.here, (args, kwargs))
        result = func(*args, **kwargs)
        if func is torch.ops.aten.copy_.default or (device is not None and torch.device(device).type == "cpu"):
            return owners.get(id(result), result)
        # What an operation gives back that it was given is the same tensor, not one more.
        return tree_map_only(torch.Tensor, lambda x: owners[id(x)] if id(x) in owners else cls(x), result)


class _Account:
    """What lies on the second device, in bytes: each storage once, as long as anything of it is there."""

    current: _Account

    def __init__(self) -> None:
        self.bytes = self.peak = 0
        self._known: dict[int, int] = {}

    def held(self, here: torch.Tensor) -> None:
        storage = here.untyped_storage()
        key = storage.data_ptr()
        self._known[key] = self._known.get(key, 0) + 1
        if self._known[key] == 1:
            self.bytes += storage.nbytes()
            self.peak = max(self.peak, self.bytes)
        weakref.finalize(here, self._let_go, key, storage.nbytes())

    def _let_go(self, key: int, size: int) -> None:
        self._known[key] -= 1
        if not self._known[key]:
            del self._known[key]
            self.bytes -= size


class SecondDevice(TorchFunctionMode):
    """Within it torch has a second device, `GPU`.

    peak: the most bytes that lay there at any time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._account = _Account()

    @property
    def peak(self) -> int:
        return self._account.peak

    def __enter__(self) -> SecondDevice:
        _Account.current = self._account
        return super().__enter__()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.cpu:
            return args[0].here.clone() if isinstance(args[0], There) else args[0]
        if func is torch.Tensor.to:
            return self._to(*args, **kwargs)
        if func in (torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.item) and isinstance(args[0], There):
            if func is torch.Tensor.numpy:
                raise TypeError("can't convert a cuda:0 tensor to numpy: copy it to host memory first")
            return func(args[0].here)
        wanted = kwargs.get("device")
        if wanted is not None and torch.device(wanted) == GPU and not any(isinstance(x, There) for x in args):
            return There(func(*args, **{**kwargs, "device": CPU}))
        return func(*args, **kwargs)

    @staticmethod
    def _to(tensor: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        """`Tensor.to` in the forms (device), (dtype), (device, dtype), (tensor) and by name."""
        device, rest = kwargs.pop("device", None), []
        for value in args:
            if isinstance(value, torch.Tensor):
                device, value = value.device, value.dtype
            if isinstance(value, (str, torch.device)):
                device = value
            else:
                rest.append(value)
        here = tensor.here if isinstance(tensor, There) else tensor
        device = tensor.device if device is None else torch.device(device)
        moved = here.to(*rest, **kwargs) if rest or kwargs else here
        if device.type == tensor.device.type:
            return tensor if moved is here else (There(moved) if isinstance(tensor, There) else moved)
        if moved is here:
            moved = here.clone()
        return There(moved) if device == GPU else moved
