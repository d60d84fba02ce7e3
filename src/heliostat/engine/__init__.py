"""The only layer that drives ray, deepspeed, peft and transformers."""
