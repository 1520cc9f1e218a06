"""The engine that speaks to a server with OpenAI's protocol: vLLM, llama.cpp, Ollama, a hosted model."""
