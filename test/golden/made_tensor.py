"""Tensors that golden scripts and tests both make of their names; test/made_tensor.h is the same in C."""
import torch


def number(name, i):
    """0.5 u (u uniform in [-1/2, 1/2), a whole number over 2^20)."""
    h = 2166136261
    for c in name.encode():
        h = (h ^ c) * 16777619 % 2**32
    x = (h + i * 0x9E3779B1) % 2**32
    x = (x ^ x >> 16) * 0x85EBCA6B % 2**32
    x = (x ^ x >> 13) * 0xC2B2AE35 % 2**32
    return ((x ^ x >> 16) >> 12) / 2**21 - 0.25


def is_norm(name):
    return name.endswith(".weight") and ("norm" in name or ".ln_" in name)


def tensor(name, shape, mean=1.0):
    """Its numbers; a norm's weights lie about the mean."""
    n = torch.Size(shape).numel()
    values = [(mean if is_norm(name) else 0.0) + number(name, i) for i in range(n)]
    return torch.tensor(values, dtype=torch.float64).reshape(shape)
