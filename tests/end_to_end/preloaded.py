"""Imported by the process that others are forked from: what each would otherwise spend its first seconds on."""

import sklearn.datasets
import torch
import torch._dynamo  # which torch imports when the first optimizer is made

import gradwire_server.app  # noqa: F401
import gradwire_worker.runner  # noqa: F401
from gradwire_common.warming import warm_kernels

sklearn.datasets.load_digits()
warm_kernels()
torch.optim.SGD([torch.zeros(1)], 0.1)
