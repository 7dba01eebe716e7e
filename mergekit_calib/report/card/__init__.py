"""The model card of the chosen model, in the Hugging Face format."""
