"""llama.cpp's own server with the weights of the embedded model, as a process: python -m others.llamacpp.

Its template of a chat is one that leaves room for thoughts: the model has no such words of its own.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket

from trunkline_server import config
from trunkline_server.providers.weights import SMOLLM2

TEMPLATE = (
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n"
    "{%- if message.reasoning_content %}<think>\n{{ message.reasoning_content }}\n</think>\n\n{%- endif %}"
    "{{ message.content }}<|im_end|>\n{%- endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n"
    "{%- if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{%- endif %}{%- endif %}"
)


def main() -> None:
    llama = importlib.import_module("xllamacpp")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    params = llama.CommonParams()
    params.model.path = str(config.cache_folder() / SMOLLM2.file_name)
    params.n_parallel, params.n_ctx, params.n_batch = 1, 2048, 64
    params.verbosity, params.ui = 0, False
    params.use_jinja, params.chat_template = True, TEMPLATE
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], port, [os.environ["KEY"]]
    running = llama.Server(params)
    print(f"listening on http://127.0.0.1:{port}", flush=True)
    signal.pause()
    del running


if __name__ == "__main__":
    main()
