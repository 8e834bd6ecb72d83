"""The Trunkline gateway: one typed gRPC door to every LLM provider."""

from importlib.metadata import version

__version__ = version("trunkline")
