"""vLLM's CPU wheel, eager. Arguments: folder of the model, threads, precision."""

import os
import sys

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "0-" + str(int(sys.argv[2]) - 1))

import worker

if __name__ == "__main__":
    from vllm import LLM, SamplingParams

    model = LLM(sys.argv[1], dtype=sys.argv[3], enforce_eager=True, enable_prefix_caching=False, max_model_len=2048)

    def generate(prompts: list[list[int]], tokens: int) -> int:
        """All requests at once, greedy."""
        sampling = SamplingParams(temperature=0.0, max_tokens=tokens, min_tokens=tokens, ignore_eos=True)
        found = model.generate([{"prompt_token_ids": prompt} for prompt in prompts], sampling, use_tqdm=False)
        return sum(len(one.outputs[0].token_ids) for one in found)

    worker.serve(generate)
