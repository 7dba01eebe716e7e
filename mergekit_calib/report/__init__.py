"""What a person looks at: tables, pictures, page and model card, made from a run's `Frontier` alone."""
