"""The GPU half of the engine. Only what lies under here imports torch or CUDA, and only when a GPU is used."""
