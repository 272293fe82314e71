"""The velocity of the exact flow from Gaussian noise to the codes of a codebook, and the posterior mean that it is made of."""

from ar_kernels.flow_velocity.result import FlowMean
from ar_kernels.flow_velocity.velocity import flow_mean, flow_velocity

__all__ = ["FlowMean", "flow_mean", "flow_velocity"]
