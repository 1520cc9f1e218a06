"""llama.cpp through `xllamacpp`: its server's own scheduler, a slot for each request. Arguments: GGUF file, threads."""

import sys
import threading

import worker
import xllamacpp


def open_server(slots: int, length: int) -> xllamacpp.Server:
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.n_parallel, params.n_ctx, params.port = slots, slots * length, 0
    params.n_batch = params.n_ubatch = 512
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(sys.argv[2])
    params.warmup = True
    return xllamacpp.Server(params)


OPEN: dict[tuple[int, int], xllamacpp.Server] = {}


def generate(prompts: list[list[int]], tokens: int) -> int:
    """All requests at once, greedy, nothing remembered from earlier ones."""
    shape = (len(prompts), len(prompts[0]) + 128)
    if shape not in OPEN:
        OPEN.clear()
        OPEN[shape] = open_server(*shape)
    server, made, lock = OPEN[shape], [], threading.Lock()

    def ask(prompt: list[int]) -> None:
        answer = server.handle_completions(
            {"prompt": prompt, "max_tokens": tokens, "temperature": 0.0, "ignore_eos": True, "cache_prompt": False}
        )
        with lock:
            made.append(answer["usage"]["completion_tokens"])

    threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(made)


worker.serve(generate)
