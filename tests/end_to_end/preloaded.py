"""Imported by the fork server before it forks: what a process of a run would otherwise spend its first seconds on."""

import sklearn.datasets
import torch  # noqa: F401

import gradwire_server.app  # noqa: F401
import gradwire_worker.runner  # noqa: F401
from gradwire_common.warming import warm_kernels

sklearn.datasets.load_digits()
warm_kernels()
