"""The lm-eval model `hf-prefix`: scores requests that share a prompt prefix in one packed forward pass."""
