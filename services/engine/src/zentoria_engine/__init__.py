"""Zentoria's own engine for language models: llama.cpp and ONNX behind OpenAI's routes, on port 11434."""

from __future__ import annotations

import importlib.metadata

__version__ = importlib.metadata.version("zentoria-engine")
